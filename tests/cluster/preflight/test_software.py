from __future__ import annotations

import sys
from importlib.metadata import version

import pytest

from pangu_alpha.cluster.preflight import software
from pangu_alpha.cluster.preflight.software import check_software, versions


def test_what_runs_the_tests_is_good() -> None:
    assert [finding.state for finding in check_software()] == ["ok", "ok"]
    assert versions()["numpy"] == version("numpy")
    assert versions()["Python"] == ".".join(map(str, sys.version_info[:3]))


def test_wrong_and_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["numpy==1.20.0", "no-such-package>=2", "rich", 'tomli>=1; python_version < "3.9"']
    monkeypatch.setattr(software, "requires", lambda _name: wanted)
    packages = check_software()[1]
    assert packages.state == "bad"
    assert packages.found == f"numpy {version('numpy')} (not ==1.20.0), no-such-package missing (not >=2)"
    assert "requirements.txt" in packages.fix


def test_another_python_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software.platform, "python_version", lambda: "3.14.1")
    python = check_software()[0]
    assert python.state == "bad"
    assert "3.14.1" in python.found


def test_a_changed_source_file_is_another_version(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    own = versions()["pangu-alpha"]
    module = tmp_path / "module.py"  # type: ignore[operator]
    module.write_text("天下 = 3\n", encoding="utf-8")
    monkeypatch.setattr(software.pangu_alpha, "__file__", str(tmp_path / "__init__.py"))  # type: ignore[operator]
    other = versions()["pangu-alpha"]
    module.write_text("天下 = 1\n", encoding="utf-8")
    assert len({own, other, versions()["pangu-alpha"]}) == 3
