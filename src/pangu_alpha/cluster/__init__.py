"""Clusters: rank tables, preflight, launching, what every rank is doing, and why a job died. No MindSpore."""
