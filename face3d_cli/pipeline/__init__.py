"""Decides which stages run, and in which order. No maths, no printing."""
