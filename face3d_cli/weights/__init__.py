"""Model files: what exists, where it lies on this machine, how it gets there."""
