"""Mesh and picture losses: one pure function each, unreduced unless named mean_*."""
