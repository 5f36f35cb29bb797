"""Duplicates across all sources: found by hashes, compared on their text, joined to clusters on the disk.

Every step is a task on sorted files, of a bounded part of them, and gives the same whoever does it.
"""
