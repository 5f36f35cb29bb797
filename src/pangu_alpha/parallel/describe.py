"""Writes the page `docs/sharding_table.md` from the sharding table. No MindSpore.

`python -m pangu_alpha.parallel.describe > docs/sharding_table.md` makes it again.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict

from pangu_alpha.parallel.parameters import PARAMETERS
from pangu_alpha.parallel.table import Dims, PrimitiveRow, Split, sharding_table

_HEAD = """\
# The sharding table

Made from `parallel/table.py` by `python -m pangu_alpha.parallel.describe > docs/sharding_table.md`; a test compares.
[parallelism.md](parallelism.md) says how the table is used, and which communication follows from it.

Each section is a place in the network, in the order of the computation; `layer` is every layer, the query layer too.
A row is a primitive. Each `[...]` is one of its inputs, one entry a dim: the axis of the mesh that cuts it, `dp×mp` for
both, `–` for a dim that stays whole; `scalar` has no dims. On `dp` 2 and `mp` 4, `[dp, –]` `[–, mp]` is MindSpore's
strategy `((2, 1), (1, 4))`. `→ [...]` is how the result is cut once its partial sums are added up. `=` is as on the
left.
"""
_SECTION = re.compile(r"layer\.\w+(?=\.)(\.\w*dropout)?|\w+(\.dropout)?")
"""First match of a row's name: the Cell that a reader knows it by."""


def sharding_page() -> str:
    """The page, in Markdown: primitives, then parameters. Places whose rows are alike share a section."""
    by_rows = sharding_table(sequence_parallel=True)
    sections: dict[str, list[str]] = defaultdict(list)
    for name, row in sharding_table(sequence_parallel=False).items():
        match = _SECTION.match(name)
        assert match is not None
        left, right = _draw_row(row), _draw_row(by_rows[name])
        condition = f", with `model.gelu={row.gelu}`" if row.gelu else ""
        line = _line(f"`{name[match.end() + 1 :]}`{condition}", left, "=" if left == right else right)
        sections[match.group()].append(line)
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for place, rows in sections.items():
        alike[tuple(rows)].append(place)
    lines = [_HEAD]
    for shared, places in alike.items():
        lines += [
            f"## {', '.join(places)}",
            "",
            *_header("primitive", "operator-level", "sequence parallel"),
            *shared,
            "",
        ]
    lines += ["## Parameters", "", *_header("parameter", "operator-level", "with optimizer sharding, if `dp` divides")]
    for name, parameter in PARAMETERS.items():
        cut = parameter.cut
        sharded = "=" if parameter.is_kept_whole else _draw((_also_dp(cut[0]), *cut[1:]))
        lines.append(_line(f"`{name}`", _draw(parameter.cut), sharded))
    return "\n".join(lines) + "\n"


def _draw_row(row: PrimitiveRow) -> str:
    inputs = " ".join(map(_draw, row.inputs))
    return inputs if row.output is None else f"{inputs} → {_draw(row.output)}"


def _draw(dims: Dims) -> str:
    return f"`[{', '.join(map(_draw_split, dims))}]`" if dims else "`scalar`"


def _draw_split(split: Split) -> str:
    if split is None:
        return "–"
    return split if isinstance(split, str) else "×".join(split)


def _also_dp(split: Split) -> Split:
    return "dp" if split is None else ("mp", "dp")


def _header(*titles: str) -> tuple[str, str]:
    return _line(*titles), _line(*["---"] * len(titles))


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.stdout.write(sharding_page())
