"""The rules that a document goes through, as a table: each a pure function of a text and its settings.

A measure gives a number, and `min` and `max` of its settings decide; a change gives another text, and how many
characters it took or replaced. To add a rule: a function in a file here, and a row of `table.py`.
"""

from pangu_alpha.corpus.rules.rule import Rule
from pangu_alpha.corpus.rules.table import RULES

__all__ = ["RULES", "Rule"]
