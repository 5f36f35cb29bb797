"""Stages remember what they were made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from pangu_alpha.quickstart.stages import Stages


@pytest.mark.parametrize("content", [b"", b"[1]", b"[" * 100_000], ids=["empty", "list", "nested"])
def test_damaged_memory_means_every_stage_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    product = tmp_path / "product"
    work = iter("123")

    def run(number: int) -> None:
        stages = Stages(tmp_path, 1)
        stages.run("a", "b", 1, product, lambda _: product.write_text(next(work)))
        assert product.read_text() == str(number)

    run(1)
    run(1)
    (tmp_path / "stages.json").write_bytes(content)
    run(2)
    assert "stages.json is damaged" in capsys.readouterr().err
    product.write_bytes(b"")  # left by a power cut
    run(3)
