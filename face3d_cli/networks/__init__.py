"""Network definitions and their strict loading."""
