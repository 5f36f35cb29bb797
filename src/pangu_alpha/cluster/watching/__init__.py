"""Watching: what every rank says, the cluster in one screen, and why a job died."""
