"""Terminal only: options in, one pipeline call, results out. Nothing below this folder prints."""
