from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_alpha.cluster.patterns import check_host_name, expand, fill, numbers_of, ranges
from pangu_alpha.errors import ClusterError


def test_brackets_are_ranges() -> None:
    assert expand("10.0.[0-1].[1-2]") == ["10.0.0.1", "10.0.0.2", "10.0.1.1", "10.0.1.2"]
    assert expand("node[08-10]") == ["node08", "node09", "node10"]
    assert expand("10.0.0.1") == ["10.0.0.1"]


@pytest.mark.parametrize("pattern", ["10.0.0.[1,2]", "10.0.0.[]", "n[a-b]", "n[1", "n1-2]"])
def test_brackets_without_a_range_are_refused(pattern: str) -> None:
    with pytest.raises(ClusterError, match="is not a range"):
        expand(pattern)


@given(st.sets(st.integers(0, 40), min_size=1))
def test_ranges_are_read_as_they_are_written(numbers: set[int]) -> None:
    assert numbers_of(ranges(numbers)) == sorted(numbers)


def test_ranges_are_short() -> None:
    assert ranges([0, 1, 2, 3, 7]) == "0-3,7"


@pytest.mark.parametrize("pattern", ["n[1-99999999]", "n[1-1000][1-1000]", "n[5-2]", f"n[1-{'9' * 150}]", "n" * 300])
def test_patterns_without_bounds_are_refused(pattern: str) -> None:
    with pytest.raises(ClusterError, match=r"correct it|no cluster has more than 100,000"):
        expand(pattern)


@pytest.mark.parametrize("text", ["0-999999999", "7-0", "5" * 150, "0," * 200 + "0"])
def test_devices_without_bounds_are_refused(text: str) -> None:
    with pytest.raises(ClusterError, match="correct it"):
        numbers_of(text)


@pytest.mark.parametrize(
    "name", ["-oProxyCommand=touch x", "../../etc/x", "a/b", "", "a b", "a;b", "$(x)", "n\n", "\x1b[2J", "u@-x", "[x"]
)
def test_what_is_no_name_of_a_host(name: str) -> None:
    with pytest.raises(ClusterError, match="is not the name of a host"):
        check_host_name(name)


@pytest.mark.parametrize(
    "name", ["10.0.0.1", "node-1", "node_000", "fe80::1%eth0", "::1", "root@npu7", "az0-rack0", "机房"]
)
def test_names_of_hosts(name: str) -> None:
    check_host_name(name)


@pytest.mark.parametrize("text", ["", "0-", "[0,8)", "a", "0;1"])
def test_lists_of_devices_that_are_none(text: str) -> None:
    with pytest.raises(ClusterError, match="write 0-7"):
        numbers_of(text)


def test_expressions_are_computed() -> None:
    names = {"server": 130, "device": 6, "d": 9}
    assert fill("172.{16 + device % 4}.{server // 100}.{1 + server % 100 * 2 + device // 4}", names) == "172.18.1.62"
    assert fill("10.0.0.{(d - 1) * 8 + device}", names) == "10.0.0.70"
    assert fill("fixed", names) == "fixed"


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("10.0.0.{host}", "host is unknown"),
        ("10.0.0.{1 +}", "invalid syntax"),
        ("10.0.0.{}", "invalid syntax"),
        ("10.0.0.{device / 2}", "device / 2 is not allowed"),
        ("10.0.0.{device // 0}", "by zero"),
        ("10.0.0.{__import__('os')}", "is not allowed"),
        ("10.0.0.{'a'}", "is not allowed"),
        ("10.0.0.{2 ** 9}", "is not allowed"),
        (f"10.0.0.{{{'1+' * 5000}1}}", "a pattern at most 200"),
    ],
)
def test_other_expressions_are_refused(pattern: str, reason: str) -> None:
    with pytest.raises(ClusterError, match=reason):
        fill(pattern, {"server": 0, "device": 0})


@pytest.mark.parametrize(
    "name", ["10.0.0..1", ".node", "node..", f"{'x' * 64}.local", "user@", "user@a..b", "-x", "../x"]
)
def test_names_that_no_host_has(name: str) -> None:
    with pytest.raises(ClusterError, match="is not the name of a host"):
        check_host_name(name)


@pytest.mark.parametrize(
    "name", ["10.0.0.1", "node-1.local.", f"{'x' * 63}.local", "me@node", "fe80::1%eth0", "::1", "n_1"]
)
def test_names_that_hosts_have(name: str) -> None:
    check_host_name(name)
