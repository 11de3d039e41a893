"""Differentiable geometry and rendering in plain torch."""
