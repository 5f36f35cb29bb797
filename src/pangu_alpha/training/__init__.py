"""The training step, the loop, and what hangs on it."""
