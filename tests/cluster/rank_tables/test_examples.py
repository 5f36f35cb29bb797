"""The rank tables of hccl_configs/ are what the commands in its README make."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from pangu_alpha.cli.main import main
from pangu_alpha.cluster.rank_tables.check import find_problems
from pangu_alpha.cluster.rank_tables.inventory import read_racks, with_racks
from pangu_alpha.cluster.rank_tables.placement import count_links
from pangu_alpha.cluster.rank_tables.rank_table import RankTable, read_rank_table
from pangu_alpha.config import load_config
from pangu_alpha.topology.mesh import Mesh

EXAMPLES = Path(__file__).parents[3] / "hccl_configs"
COMMANDS = re.findall(r"^ +pangu (ranktable make .*)$", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.M)


def test_there_is_a_table_of_each_size() -> None:
    made = [command.split()[-1] for command in COMMANDS]
    assert made == [f"hccl_{size}.json" for size in (8, 16, 128, 1024, 2048)]
    assert sorted(made) == sorted(path.name for path in EXAMPLES.glob("*.json"))


@pytest.mark.parametrize("command", COMMANDS)
def test_an_example_is_what_its_command_makes(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for inventory in EXAMPLES.glob("*.yaml"):
        shutil.copy(inventory, tmp_path)
    monkeypatch.chdir(tmp_path)
    words = command.split()
    assert main(words) == 0
    made = words[-1]
    assert (tmp_path / made).read_bytes() == (EXAMPLES / made).read_bytes()
    table = read_rank_table(EXAMPLES / made)
    assert f"hccl_{table.num_devices}.json" == made
    recipe, *overrides = words[words.index("--config") + 1 : words.index("--output")]
    mesh = Mesh.of(load_config(recipe, overrides).parallel)
    assert find_problems(table, mesh) == []
    placed = RankTable(table.version, with_racks(table.servers, read_racks(tmp_path / words[3])))
    links = {entry.axis: entry for entry in count_links(placed, mesh)}
    if "mp" in links:
        assert links["mp"].across_servers == links["mp"].across_racks == 0
    if "pp" in links:
        assert links["pp"].across_racks == 0
