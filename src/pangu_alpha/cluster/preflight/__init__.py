"""Preflight: what would break a job, found before it starts. One module a family of checks."""
