"""What a corpus recipe can say: sources, rules with their thresholds, duplicates, contamination, limits.

A recipe is a YAML file. `preset: NAME` takes one of `presets/` and replaces what the file says otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from pangu_alpha.config.sections import Settings
from pangu_alpha.corpus.rules import RULES


class SourceSettings(Settings):
    """Where documents come from, and which rules they go through (paper Table 3)."""

    rules: tuple[str, ...] | None = None
    """Names of the recipe's rules that this source's documents go through; absent: all of them, [] none."""
    fields: tuple[str, ...] = ("text",)
    """Of a JSON line or a Parquet row: these make the text, a paragraph each. All others, as labels, are left out."""


class NearSettings(Settings):
    """Near duplicates: MinHash with bands, then the Jaccard similarity of the n-grams themselves."""

    ngram: int = Field(default=5, ge=1, le=64)
    """Characters of a shingle, counted without white space and punctuation."""
    bands: int = Field(default=20, ge=1, le=256)
    """Groups of hashes; documents that agree in one whole group are compared."""
    rows: int = Field(default=5, ge=1, le=64)
    """Hashes of a group. Two texts of similarity s are compared with probability 1 − (1 − s^rows)^bands."""
    jaccard: float = Field(default=0.7, gt=0.0, le=1.0)
    """Similarity from which two documents are one, measured on the shingles, not estimated."""


class DuplicateSettings(Settings):
    """Which documents are the same (paper §3.1.2: across all sources)."""

    exact: bool = True
    """Whether equal texts are one; white space and punctuation do not count."""
    near: NearSettings | None = NearSettings()
    """How similar texts are found; null: not at all."""


class ContaminationSettings(Settings):
    """Evaluation sets that training text must not hold."""

    paths: tuple[Path, ...] = ()
    """Files of any format that is read; all strings of a JSON line count."""
    ngram: int = Field(default=20, ge=4, le=256)
    """Characters, without white space and punctuation, that are looked for."""
    max_found: int = Field(default=0, ge=0)
    """A document with more of these n-grams is dropped."""


class LimitSettings(Settings):
    """What a document may have at most; larger ones are dropped by name, unread."""

    document_bytes: int = Field(default=10_000_000, ge=1000)
    """Of a document as it is stored and after decompression: one web page or book."""
    html_depth: int = Field(default=1000, ge=10)
    """Levels of nested HTML elements: the parser's time grows with their square."""
    piece_bytes: int = Field(default=32_000_000, ge=1000)
    """Of input that is one unit of work, unless one compressed file has more; a unit writes one shard."""


class Recipe(Settings):
    """How a corpus is made. What comes out is a function of this and the input alone."""

    sources: dict[str, SourceSettings] = Field(default={"web": SourceSettings()})
    """By name, in the order in which duplicates are kept: a document of an earlier source stays."""
    rules: dict[str, dict[str, Any]] = Field(default={})
    """Settings of each rule by its name, in the order in which they are applied; see `pangu corpus rules`."""
    duplicates: DuplicateSettings = DuplicateSettings()
    """Equal and similar documents."""
    contamination: ContaminationSettings = ContaminationSettings()
    """What must not be in the output."""
    limits: LimitSettings = LimitSettings()
    """Protection against documents that nobody can want."""
    measure_all: bool = False
    """Whether rules are measured on documents that have fallen already: slower, and the ledger's columns are full."""

    @field_validator("rules")
    @classmethod
    def _know_rules(cls, rules: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {name: RULES.settings(name, settings) for name, settings in rules.items()}

    @model_validator(mode="after")
    def _know_sources(self) -> Recipe:
        if not self.sources:
            raise ValueError("sources is empty: name at least one, for example `sources: {web: {}}`")
        for name, source in self.sources.items():
            if not name.replace("_", "").replace("-", "").isalnum():
                raise ValueError(f"sources.{name}: a source's name becomes a folder: use letters, digits, _ and -")
            for rule in source.rules or ():
                if rule not in self.rules:
                    raise ValueError(
                        f"sources.{name}.rules: {rule!r} is no rule of this recipe: {', '.join(self.rules)}"
                    )
        return self

    def rules_of(self, source: str) -> tuple[str, ...]:
        """Names of the rules that documents of `source` go through, in order."""
        chosen = self.sources[source].rules
        return tuple(name for name in self.rules if chosen is None or name in chosen)
