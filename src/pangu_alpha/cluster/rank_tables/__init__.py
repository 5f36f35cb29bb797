"""Rank tables: their formats, what is wrong with one, which servers there are and which place each gets."""
