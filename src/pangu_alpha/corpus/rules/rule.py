"""What a rule is, and the table that checks the settings a recipe gives it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pangu_alpha.config.validating import did_you_mean

BOUNDS = ("min", "max")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d{1,3}")


@dataclass(frozen=True)
class Rule:
    """One rule: a measure of a text, or a change of it."""

    name: str
    function: Callable[..., Any]
    """Of a measure: (text, **settings) → number. Of a change: (text, **settings) → (text, number of characters)."""
    meaning: str
    """What is measured or changed, in a line."""
    origin: str
    """Where the rule is from."""
    changes: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    """All settings with their defaults; None where a recipe must, or for `min` and `max` may, say something."""
    between: tuple[float, float] = (0.0, math.inf)
    """What can be measured at least and at most."""

    def apply(self, text: str, settings: Mapping[str, Any]) -> tuple[str, float, bool]:
        """The text afterwards, the number for the ledger, and whether the document stays."""
        own = {name: value for name, value in settings.items() if name not in BOUNDS}
        if self.changes:
            changed, value = self.function(text, **own)
            return changed, float(value), True
        value = float(self.function(text, **own))
        least, most = settings.get("min"), settings.get("max")
        return text, value, (least is None or value >= least) and (most is None or value <= most)


class RuleTable(Mapping[str, Rule]):
    """All rules by name."""

    def __init__(self, rules: list[Rule]) -> None:
        self._rules = {rule.name: rule for rule in rules}

    def __getitem__(self, name: str) -> Rule:
        return self._rules[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rules)

    def __len__(self) -> int:
        return len(self._rules)

    def settings(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """What a recipe says of the rule `name`, with the defaults of the rest.

        Raises:
            ValueError: there is no such rule or setting, a value has another type than its default, or one is missing.
        """
        if name not in self._rules:
            raise ValueError(f"there is no rule {name!r}: {did_you_mean(name, self._rules)}")
        rule = self._rules[name]
        own = {}
        for key, value in given.items():
            if key not in rule.settings:
                raise ValueError(f"{name} has no setting {key!r}: {did_you_mean(key, rule.settings)}")
            own[key] = _checked(f"{name}.{key}", value, rule.settings[key], key in BOUNDS)
        merged = {**rule.settings, **own}
        if missing := [key for key, value in merged.items() if value is None and key not in BOUNDS]:
            raise ValueError(f"{name}.{missing[0]} must be given: {rule.meaning}")
        if not rule.changes and all(merged.get(bound) is None for bound in BOUNDS):
            raise ValueError(f"{name} has neither min nor max, so that it drops nothing: give one")
        if not rule.changes:
            _require_some_stay(rule, merged)
        return merged


def _require_some_stay(rule: Rule, settings: Mapping[str, Any]) -> None:
    lowest, highest = rule.between
    least, most = (settings[bound] for bound in BOUNDS)
    too_much, too_little = least is not None and least > highest, most is not None and most < lowest
    if too_much or too_little:
        bound = BOUNDS[too_little]
        span = f"{lowest:g} on" if math.isinf(highest) else f"{lowest:g} to {highest:g}"
        raise ValueError(f"{rule.name}.{bound} = {settings[bound]} drops every text: it measures numbers from {span}")
    if least is not None and most is not None and least > most:
        raise ValueError(f"{rule.name} drops every text: its min, {least}, is above its max, {most}")


def _checked(place: str, value: Any, default: Any, is_bound: bool) -> Any:
    """`value`, a number where YAML has taken one without a sign in its exponent (1.0e9) for a text."""
    numbers = (int, float)
    if is_bound or (isinstance(default, numbers) and not isinstance(default, bool)):
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            value = float(value)
        is_number = isinstance(value, numbers) and not isinstance(value, bool) and math.isfinite(value)
        fits = is_number or (is_bound and value is None)
        wanted = "a finite number"
    elif default is None:
        fits, wanted = isinstance(value, str), "a path"
    else:
        fits, wanted = isinstance(value, type(default)), type(default).__name__
    if not fits:
        raise ValueError(f"{place} = {str(value)[:80]!r} is not {wanted}")
    return value
