from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pangu_alpha.cluster.modelarts import storage
from pangu_alpha.cluster.modelarts.storage import Mirror, copy_file, copy_folder, list_files
from pangu_alpha.errors import ClusterError


class BucketFiles:
    """`moxing.file`, with a folder as the object store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log: list[str] = []

    def _path(self, url: str) -> Path:
        return self.folder / url.removeprefix("obs://") if url.startswith("obs://") else Path(url)

    def exists(self, url: str) -> bool:
        return self._path(url).exists()

    def is_directory(self, url: str) -> bool:
        return self._path(url).is_dir()

    def list_directory(self, url: str, recursive: bool) -> list[str]:
        assert recursive
        return [path.relative_to(self._path(url)).as_posix() for path in self._path(url).rglob("*")]

    def get_size(self, url: str) -> int:
        return self._path(url).stat().st_size

    def copy(self, source: str, target: str) -> None:
        self.log.append(target)
        self._path(target).parent.mkdir(parents=True, exist_ok=True)
        self._path(target).write_bytes(self._path(source).read_bytes())

    def copy_parallel(self, src_url: str, dst_url: str) -> None:
        for name in self.list_directory(src_url, recursive=True):
            if not self.is_directory(f"{src_url}/{name}"):
                self.copy(f"{src_url}/{name}", f"{dst_url}/{name}")


@pytest.fixture
def bucket_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BucketFiles:
    files = BucketFiles(tmp_path / "store")
    monkeypatch.setitem(sys.modules, "moxing", SimpleNamespace(file=files))
    return files


@pytest.mark.parametrize("remote", ["obs://bucket/run", "{folder}/run"])
def test_mirror_follows_a_growing_run(tmp_path: Path, bucket_files: BucketFiles, remote: str) -> None:
    remote = remote.format(folder=tmp_path)
    local = tmp_path / "output"
    (local / "checkpoints" / "step_00000001").mkdir(parents=True)
    (local / "metrics.jsonl").write_text("{}\n")
    mirror = Mirror(local, remote, None)
    assert mirror.update() == 1
    for name in ("index.json", "weights.safetensors", ".hidden", "half.part"):
        (local / "checkpoints" / "step_00000001" / name).write_text("权重")
    (local / "metrics.jsonl").write_text("{}\n{}\n")
    assert mirror.update() == 3
    assert mirror.update() == 0
    assert list_files(remote) == {
        "checkpoints/step_00000001/index.json": 6,
        "checkpoints/step_00000001/weights.safetensors": 6,
        "metrics.jsonl": 6,
    }
    # What is there already is not copied again by the next attempt, and what is gone here stays there.
    (local / "metrics.jsonl").unlink()
    assert Mirror(local, remote, None).update() == 0
    assert list_files(remote)["metrics.jsonl"] == 6


def test_a_checkpoint_is_complete_when_its_index_is_there(tmp_path: Path, bucket_files: BucketFiles) -> None:
    local = tmp_path / "output"
    for step in (1, 2):
        folder = local / "checkpoints" / f"step_{step:08d}"
        folder.mkdir(parents=True)
        for name in ("index.json", "weights.safetensors", "optimizer.safetensors"):
            (folder / name).write_text(name)
    Mirror(local, "obs://bucket", None).update()
    order = [name.endswith("index.json") for name in bucket_files.log]
    assert order == [False] * 4 + [True] * 2


def test_other_nodes_add_only_their_part(tmp_path: Path) -> None:
    local = tmp_path / "output"
    for name in ("metrics.jsonl", "logs/rank_8.log", "checkpoints/step_00000001/part_8"):
        (local / name).parent.mkdir(parents=True, exist_ok=True)
        (local / name).write_text("8")
    Mirror(local, str(tmp_path / "run"), ("checkpoints", "logs")).update()
    assert set(list_files(str(tmp_path / "run"))) == {"logs/rank_8.log", "checkpoints/step_00000001/part_8"}


def test_folder_comes_from_the_store(tmp_path: Path, bucket_files: BucketFiles) -> None:
    (tmp_path / "text").write_text("天下")
    copy_file(str(tmp_path / "text"), "obs://bucket/data/tokens/train.bin")
    assert copy_folder("obs://bucket/data", tmp_path / "data") == 6
    assert (tmp_path / "data" / "tokens" / "train.bin").read_text() == "天下"
    with pytest.raises(ClusterError, match="obs://bucket/nothing: no such folder, or it is empty"):
        copy_folder("obs://bucket/nothing", tmp_path / "data")


def test_linked_folders_are_copied_and_circles_end(tmp_path: Path) -> None:
    for name in ("data/a", "far/b"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("天下")
    (tmp_path / "data" / "far").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "back").symlink_to(tmp_path / "data")
    assert copy_folder(str(tmp_path / "data"), tmp_path / "copy") == 12
    assert (tmp_path / "copy" / "far" / "b").read_text() == "天下"
    mirror = Mirror(tmp_path / "data", str(tmp_path / "mirror"), None)
    assert mirror.update() == 2
    (tmp_path / "data" / "gone").symlink_to("nowhere")
    with pytest.raises(ClusterError, match=r"data/gone: cannot be read: a link that leads nowhere"):
        copy_folder(str(tmp_path / "data"), tmp_path / "copy")


def test_store_without_moxing_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moxing", None)
    with pytest.raises(ClusterError, match="this machine has no moxing"):
        list_files("obs://bucket/data")
    with pytest.raises(ClusterError, match="this machine has no moxing"):
        copy_folder("obs://bucket/data", tmp_path)


def test_full_disk_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_source: object, _target: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_text("天下")
    monkeypatch.setattr(storage.shutil, "copyfile", full)
    with pytest.raises(ClusterError, match="No space left on device"):
        copy_folder(str(tmp_path / "source"), tmp_path / "target")
