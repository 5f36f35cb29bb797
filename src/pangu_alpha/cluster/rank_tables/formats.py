"""The JSON of rank tables: the form of each format, and every departure from it in words.

1.0 (Atlas training servers) and 1.2 (A3 super-pods) list servers with devices, all values strings; 2.0 (Atlas
350/850/950) lists ranks with their network layers, numbers as numbers. A table with a `group_list` has no version (see
`groups`). Unknown fields are kept. Descriptions: the HCCL user guide of CANN, "rank table configuration".
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from pangu_alpha.cluster.rank_tables.values import find_odd_values
from pangu_alpha.errors import ClusterError
from pangu_alpha.reading import read_json, whole_number
from pangu_alpha.reading.numbers import MAX_DIGITS

Version = Literal["1.0", "1.2", "2.0"]
FOREIGN: dict[str, tuple[str, ...]] = {
    "1.0": ("super_pod_list", "rank_list", "rank_count", "group_list", "group_count"),
    "1.2": ("rank_list", "rank_count", "group_list", "group_count"),
    "2.0": ("server_list", "server_count", "super_pod_list", "group_list", "group_count"),
    "group_list": ("server_list", "server_count", "super_pod_list", "rank_list", "rank_count"),
}
"""Keys that belong to another format than the one that a table says it is."""
FOREIGN_TO_DEVICES = ("level_list", "local_id")
"""The same of a device of format 1.0 or 1.2."""
Digits = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]*)$", max_length=MAX_DIGITS)]
Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class Problem:
    """Something wrong with a rank table: what, where, and the way out."""

    what: str
    where: str
    fix: str
    kind: str = field(default="", compare=False)
    """Equal for the same mistake at many places, which is told once; "": it is never at many."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.fix}"


def gathered(problems: Iterable[Problem]) -> list[Problem]:
    """`problems`, with all of a kind as the first of them and the number of the others."""
    numbers: Counter[str] = Counter()
    first: dict[str, Problem] = {}
    for number, problem in enumerate(problems):
        key = problem.kind or f"alone {number}"
        first.setdefault(key, problem)
        numbers[key] += 1
    return [
        replace(problem, what=f"{problem.what} (and the same at {numbers[key] - 1} other place(s))")
        if numbers[key] > 1
        else problem
        for key, problem in first.items()
    ]


class Form(BaseModel):
    """Base of the forms: strict about types, keeps fields that it does not know."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    def others(self) -> dict[str, Any]:
        """The fields that the form does not name."""
        return dict(self.model_extra or {})


class DeviceForm(Form):
    """A device of a server, formats 1.0 and 1.2."""

    device_id: Digits
    rank_id: Digits
    device_ip: str | None = None
    super_device_id: Digits | None = None


class ServerForm(Form):
    """A server, formats 1.0 and 1.2."""

    server_id: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    device: list[DeviceForm]


class PodServerForm(Form):
    """A server's name in a super-pod."""

    server_id: str


class PodForm(Form):
    """A super-pod, format 1.2."""

    super_pod_id: str
    server_list: list[PodServerForm]


class ServersForm(Form):
    """Format 1.0."""

    version: Version
    status: str
    server_count: Digits
    server_list: list[ServerForm]


class PodsForm(Form):
    """Format 1.2. Without `super_pod_list` the servers of one are treated like those of format 1.0."""

    version: Version
    status: str
    server_count: Digits | None = None
    server_list: list[ServerForm]
    super_pod_list: list[PodForm] = []


class AddressForm(Form):
    """An address of a rank in a network layer, format 2.0."""

    addr_type: Literal["IPV4", "IPV6", "EID"]
    addr: str
    ports: list[str]


class LevelForm(Form):
    """What a rank has in one network layer, format 2.0."""

    net_layer: Count
    net_instance_id: str
    net_type: str
    rank_addr_list: list[AddressForm] | None


class RankForm(Form):
    """A rank, format 2.0."""

    rank_id: Count
    local_id: Count
    device_id: Count
    level_list: Annotated[list[LevelForm], Field(min_length=1)]


class RanksForm(Form):
    """Format 2.0."""

    version: Version
    status: str = "completed"
    rank_count: Count
    rank_list: list[RankForm]


class GroupDeviceForm(Form):
    """A device of an instance, `group_list`."""

    device_id: Digits
    device_ip: str | None = None
    rank_id: Digits | None = None


class InstanceForm(Form):
    """A pod or, with `deploy_mode`, a rank, `group_list`."""

    server_id: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    devices: Annotated[list[GroupDeviceForm], Field(min_length=1)]
    pod_name: str | None = None
    rank_id: Digits | None = None


class GroupForm(Form):
    """A group of instances, `group_list`. The counts are those of either kind."""

    group_name: str
    instance_count: Digits
    instance_list: Annotated[list[InstanceForm], Field(min_length=1)]
    device_count: Digits | None = None
    device_num: Digits | None = None
    server_num: Digits | None = None


class GroupsForm(Form):
    """`group_list`, without a version."""

    status: str
    group_count: Digits
    group_list: Annotated[list[GroupForm], Field(min_length=1)]
    deploy_mode: str | None = None


TableForm: TypeAlias = ServersForm | PodsForm | RanksForm | GroupsForm
_FORMS: dict[str, type[TableForm]] = {
    "1.0": ServersForm,
    "1.2": PodsForm,
    "2.0": RanksForm,
    "group_list": GroupsForm,
}
_REMAKE = "correct it, or make the table again with `pangu ranktable make`"


def read_form(path: Path) -> tuple[TableForm | None, list[Problem]]:
    """What `path` holds, None when that cannot be understood, and everything that is wrong with its form.

    Raises:
        ClusterError: the file cannot be read.
    """
    try:
        document = read_json(path)
    except OSError as error:
        raise ClusterError(f"{path}: {error.strerror}; make a rank table with `pangu ranktable make`") from error
    except ValueError as error:
        return None, [Problem(f"not JSON: {error}", "whole file", _REMAKE)]
    if not isinstance(document, dict):
        return None, [Problem("not a JSON object", "whole file", _REMAKE)]
    if odd := [Problem(*words, kind=re.sub(r"\d+", "", words[1])) for words in find_odd_values(document)]:
        return None, odd
    is_grouped = "group_list" in document and "version" not in document
    version = "group_list" if is_grouped else document.get("version")
    if not isinstance(version, str) or not (is_grouped or version in get_args(Version)):
        what = "is missing" if version is None else f"{version!r} is none that HCCL knows"
        return None, [Problem(what, "version", f"write one of {', '.join(get_args(Version))}, in quotes")]
    here = "beside a group_list" if is_grouped else f"to version {version}"
    mixed = [
        Problem(f"mixed formats: it does not belong {here}", key, "remove it, or correct the version")
        for key in FOREIGN[version]
        if key in document
    ]
    form, wrong = _validate(_FORMS[version], document)
    return form, mixed + wrong + ([] if form is None else _wrong_count(form))


def layout(value: Any, indent: str = "") -> str:
    """JSON text with every innermost object or list on one line."""
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not any(isinstance(member, dict | list) for member in members):
        return json.dumps(value, ensure_ascii=False)
    inner = indent + " "
    if isinstance(value, dict):
        lines = [f"{json.dumps(key, ensure_ascii=False)}: {layout(member, inner)}" for key, member in value.items()]
    else:
        lines = [layout(member, inner) for member in value]
    left, right = "{}" if isinstance(value, dict) else "[]"
    return f"{left}\n{inner}" + f",\n{inner}".join(lines) + f"\n{indent}{right}"


def _validate(model: type[TableForm], document: dict[str, Any]) -> tuple[TableForm | None, list[Problem]]:
    """`document` as a form and its problems. Numbers in place of strings, and the reverse, do not stop the reading."""
    try:
        return model.model_validate(document), []
    except ValidationError as error:
        details = error.errors()
    for detail in details:
        *parents, key = detail["loc"]
        parent: Any = document
        for step in parents:
            parent = parent[step]
        if detail["type"] == "string_type" and type(detail["input"]) is int:
            parent[key] = str(detail["input"])
        elif detail["type"] == "int_type" and (number := whole_number(str(detail["input"]))) is not None:
            parent[key] = number
    problems = [
        replace(_explain(detail), kind=re.sub(r"\d+", "", f"{detail['type']} {detail['loc']}")) for detail in details
    ]
    try:
        return model.model_validate(document), problems
    except ValidationError:
        return None, problems


def _explain(detail: Any) -> Problem:
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"]).lstrip(".")
    value, kind = detail["input"], detail["type"]
    if kind == "missing":
        return Problem("is missing", where, "add it, or make the table again with `pangu ranktable make`")
    if kind == "string_type" and type(value) is int:
        return Problem(f"is the number {value}, and HCCL wants a string", where, f'write "{value}", in quotes')
    if kind == "int_type" and isinstance(value, str):
        return Problem(f"is the string {value!r}, and format 2.0 has a number there", where, "remove the quotes")
    if kind == "string_pattern_mismatch":
        return Problem(f"{value!r} is not a whole number", where, 'write digits only, such as "3"')
    return Problem(f"{str(value)[:60]!r} is wrong: {detail['msg']}", where, _REMAKE)


def _wrong_count(form: TableForm) -> list[Problem]:
    if isinstance(form, RanksForm):
        key, said, found = "rank_count", form.rank_count, len(form.rank_list)
    elif isinstance(form, GroupsForm):
        return []  # It has counts of its own, see `groups`.
    else:
        key, found = "server_count", len(form.server_list)
        said = found if form.server_count is None else int(form.server_count)
    if said == found:
        return []
    listed = key.replace("count", "list")
    return [Problem(f"says {said}, and {listed} has {found}", key, f"write {found}, or complete {listed}")]
