"""Launching: which process runs where with which environment, starting it, following it, starting again."""
