"""How long it takes to make and to check a rank table, against its size.

Runs `pangu ranktable make` and `check` as a user does, each in a process of its own, for rooms of racks of sixteen
servers of eight devices, and prints the median of several runs, the processor time in it, and the ratio of the time to
its limit: 1 s up to 2,048 devices, 5 s above.

    python benchmarks/rank_table.py
    python benchmarks/rank_table.py --sizes 8 2048 --rounds 9
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = (8, 16, 128, 1024, 2048, 4096, 16384)
SERVERS_OF_RACK, DEVICES_OF_SERVER = 16, 8


def write_inventory(path: Path, num_devices: int) -> None:
    num_servers = num_devices // DEVICES_OF_SERVER
    lines = ["device_ip: 172.{16 + device % 4}.{server // 100}.{1 + server % 100 * 2 + device // 4}", "racks:"]
    for rack in range(-(-num_servers // SERVERS_OF_RACK)):
        servers = min(SERVERS_OF_RACK, num_servers - rack * SERVERS_OF_RACK)
        lines.append(f"  rack{rack:03}: 10.0.{rack}.[1-{servers}]")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def mesh_of(num_devices: int) -> list[str]:
    """A replica a rack: mp over a server's devices, the stages over a rack's servers."""
    pp = min(SERVERS_OF_RACK, num_devices // DEVICES_OF_SERVER)
    dp = num_devices // DEVICES_OF_SERVER // pp
    return ["200b_2048", f"parallel.dp={dp}", "parallel.mp=8", f"parallel.pp={pp}", f"train.batch_size={16 * dp}"]


def seconds(*words: str) -> tuple[float, float]:
    """Wall and processor time of one command."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "pangu_alpha.cli.main", "ranktable", *words]
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="devices, multiples of 8")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each command (default: %(default)s)")
    arguments = parser.parse_args()
    print("devices  command     time  processor  limit  time / limit")
    with tempfile.TemporaryDirectory() as folder:
        inventory, table = Path(folder, "room.yaml"), Path(folder, "table.json")
        for size in arguments.sizes:
            write_inventory(inventory, size)
            config = ["--config", *mesh_of(size)]
            times: dict[str, list[tuple[float, float]]] = {"make": [], "check": []}
            for _ in range(arguments.rounds):
                table.unlink(missing_ok=True)
                times["make"].append(seconds("make", "--from", str(inventory), "--output", str(table), *config))
                times["check"].append(seconds("check", str(table), *config))
            limit = 1 if size <= 2048 else 5
            for verb, measured in times.items():
                wall, processor = (statistics.median(column) for column in zip(*measured, strict=True))
                print(f"{size:7}  {verb:7} {wall:6.3f} s   {processor:6.3f} s    {limit} s  {wall / limit:12.3f}")


if __name__ == "__main__":
    main()
