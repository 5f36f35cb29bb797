"""`pangu ranktable`: make, check, merge and show the file that tells HCCL which device is which rank.

The cluster package is imported by the functions that work, so that `--help` does not wait for pydantic and numpy.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.console import say
from pangu_alpha.errors import ClusterError, ConfigError

if TYPE_CHECKING:
    from pangu_alpha.cluster.rank_tables.rank_table import RankTable, Server
    from pangu_alpha.topology.mesh import Mesh

_RAW = argparse.RawDescriptionHelpFormatter
_SEED = 1
"""Of the random order that `show` compares with."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `make`, `check`, `merge` and `show`."""
    parser.epilog = (
        "examples:\n  pangu ranktable make --from host --output hccl.json\n"
        "  pangu ranktable make --from cluster.yaml --config 200b_2048 --output hccl_2048.json\n"
        "  pangu ranktable check hccl_2048.json --config 200b_2048 --hosts hosts.txt\n"
        "  pangu ranktable show hccl_2048.json --config 200b_2048 --racks cluster.yaml --draw placement.svg"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_make(actions)
    check = actions.add_parser(
        "check",
        help="name everything that is wrong with a table",
        description="Name everything that is wrong with a rank table: what, where, and the way out.",
        epilog="examples:\n  pangu ranktable check hccl.json\n"
        "  pangu ranktable check hccl.json --config 2b6 parallel.dp=1 --hosts hosts.txt",
        formatter_class=_RAW,
    )
    check.add_argument("table", type=Path, help="rank table, of any format")
    check.add_argument("--hosts", type=Path, metavar="FILE", help="the hosts that the job is started on")
    _add_config(check)
    merge = actions.add_parser(
        "merge",
        help="join the tables of several servers",
        description="Join tables into one. Servers follow the dictionary order of their ids; ranks are numbered anew.",
        epilog="example:\n  pangu ranktable merge hccl_server*.json --output hccl.json",
        formatter_class=_RAW,
    )
    merge.add_argument("tables", nargs="+", type=Path, help="rank tables of one format")
    _add_output(merge)
    show = actions.add_parser(
        "show",
        help="print and draw which rank sits where",
        description="Print which rank sits where and, for a recipe's mesh, how many links leave a server or a rack.",
        epilog="examples:\n  pangu ranktable show hccl.json\n"
        "  pangu ranktable show hccl.json --config 200b_2048 --racks cluster.yaml --draw placement.png",
        formatter_class=_RAW,
    )
    show.add_argument("table", type=Path, help="rank table, of any format")
    show.add_argument("--racks", type=Path, metavar="FILE", help="hosts file or YAML inventory with the servers' racks")
    show.add_argument("--draw", type=Path, metavar="FILE", help="also draw it, as .svg or .png, beside a random order")
    _add_config(show)


def run(arguments: argparse.Namespace) -> None:
    """Carry out `pangu ranktable ...`."""
    {"make": _make, "check": _check, "merge": _merge, "show": _show}[arguments.action](arguments)


def _add_make(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    make = actions.add_parser(
        "make",
        help="make a table from an inventory",
        description="Make a rank table. With --config, servers are ordered so that the recipe's groups are near: "
        "operator-level groups inside a server, the stages of a replica in one rack.",
        epilog="examples:\n  pangu ranktable make --from host --devices 0-3 --output hccl.json\n"
        "  pangu ranktable make --from cluster.yaml --config 200b_2048 --output hccl.json\n"
        "  pangu ranktable make --from hosts.txt --device-ip '192.168.{100 + device %% 4}.{d}' --output hccl.json\n"
        "  mpirun -n 16 pangu ranktable make --from mpi --racks hosts.txt --config 2b6 --output hccl.json",
        formatter_class=_RAW,
    )
    make.add_argument(
        "--from",
        dest="source",
        required=True,
        metavar="SOURCE",
        help="host (this one), mpi (all hosts of this MPI job), or a file: YAML inventory, hosts file, .json table",
    )
    _add_output(make)
    make.add_argument("--format", choices=("1.0", "1.2", "2.0"), help="default: 1.2 for super-pods, otherwise 1.0")
    make.add_argument("--devices", metavar="LIST", help="use only these devices of each server, such as 0-3")
    make.add_argument("--device-ip", metavar="PATTERN", help="for a hosts file: the address of a device")
    make.add_argument(
        "--super-device-id", metavar="PATTERN", help="for a hosts file: a device's number in its super-pod"
    )
    make.add_argument("--racks", type=Path, metavar="FILE", help="hosts file or YAML inventory with the servers' racks")
    make.add_argument("--keep-server-ids", action="store_true", help="never rename servers to fit HCCL's order of ids")
    make.add_argument("--server-id", metavar="ADDRESS", help="for host and mpi: this host's address in the table")
    make.add_argument(
        "--hccn-conf",
        type=Path,
        default=Path("/etc/hccn.conf"),
        metavar="FILE",
        help="for host and mpi: the driver's file of addresses, used without hccn_tool (default: %(default)s)",
    )
    _add_config(make)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        nargs="+",
        metavar=("RECIPE", "section.key=value"),
        help="the mesh: a YAML file or the name of a shipped recipe, and settings that replace its own",
    )
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="more such settings")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the rank table to write")


def _make(arguments: argparse.Namespace) -> None:
    from pangu_alpha.cluster.patterns import numbers_of
    from pangu_alpha.cluster.rank_tables.inventory import choose_devices, read_racks, with_racks
    from pangu_alpha.cluster.rank_tables.placement import arrange

    mesh = _mesh(arguments)
    servers = _find_servers(arguments)
    if servers is None:
        return  # Rank 0 of the MPI job writes the table.
    if arguments.devices:
        servers = choose_devices(servers, numbers_of(arguments.devices))
    if arguments.racks:
        servers = list(with_racks(servers, read_racks(arguments.racks)))
    in_pods = any(device.super_device_id is not None for server in servers for device in server.devices)
    arrangement = arrange(servers, arguments.format or ("1.2" if in_pods else "1.0"), mesh, arguments.keep_server_ids)
    if arrangement.note:
        say(arrangement.note)
    if arrangement.spare:
        say(f"not needed: {', '.join(server.server_id for server in arrangement.spare)}")
    _write(arrangement.table, arguments.output, mesh)


def _find_servers(arguments: argparse.Namespace) -> list[Server] | None:
    from pangu_alpha.cluster.rank_tables.inventory import Devices, read_inventory
    from pangu_alpha.cluster.rank_tables.this_host import servers_of_mpi, this_server

    def here() -> Server:
        return this_server(arguments.server_id, arguments.devices, arguments.hccn_conf)

    path = Path(arguments.source)
    by_driver = arguments.source in ("host", "mpi")
    if (arguments.device_ip or arguments.super_device_id) and (by_driver or path.suffix in (".json", ".yaml", ".yml")):
        raise ConfigError(f"--device-ip and --super-device-id are for hosts files: {arguments.source} says it itself")
    if arguments.server_id and not by_driver:
        raise ConfigError("--server-id is for --from host and mpi: correct the address in the inventory instead")
    if arguments.source == "host":
        return [here()]
    if arguments.source == "mpi":
        return servers_of_mpi(here)
    shared = {"device_ip": arguments.device_ip, "super_device_id": arguments.super_device_id}
    devices = Devices(devices=arguments.devices, **shared) if arguments.devices else Devices(**shared)
    return read_inventory(path, devices)


def _check(arguments: argparse.Namespace) -> None:
    from pangu_alpha.cluster.rank_tables.check import check_file
    from pangu_alpha.cluster.rank_tables.rank_table import read_rank_table

    hosts = None
    if arguments.hosts:
        from pangu_alpha.cluster.rank_tables.inventory import read_racks

        hosts = read_racks(arguments.hosts)
    problems = check_file(arguments.table, _mesh(arguments), hosts)
    for problem in problems:
        print(problem)
    if problems:
        raise ClusterError(f"{arguments.table}: {len(problems)} problem(s)")
    print(f"{arguments.table}: no problems; {_summary(read_rank_table(arguments.table))}")


def _merge(arguments: argparse.Namespace) -> None:
    from pangu_alpha.cluster.rank_tables.placement import arrange
    from pangu_alpha.cluster.rank_tables.rank_table import read_rank_table

    tables = [read_rank_table(path) for path in arguments.tables]
    for path, table in zip(arguments.tables, tables, strict=True):
        if table.version != tables[0].version:
            raise ClusterError(
                f"mixed formats: {arguments.tables[0]} has version {tables[0].version}, {path} has {table.version}; "
                "make one of them again with `pangu ranktable make --from TABLE --format VERSION`"
            )
    servers = [server for table in tables for server in table.servers]
    _write(arrange(servers, tables[0].version, None, keep_server_ids=True).table, arguments.output, None)


def _show(arguments: argparse.Namespace) -> None:
    from dataclasses import replace

    from pangu_alpha.cluster.rank_tables.check import find_problems
    from pangu_alpha.cluster.rank_tables.inventory import read_racks, with_racks
    from pangu_alpha.cluster.rank_tables.rank_table import read_rank_table

    mesh = _mesh(arguments)
    table = read_rank_table(arguments.table)
    problems = find_problems(table, mesh)
    if problems:
        command = shlex.join(["pangu", "ranktable", "check", str(arguments.table)])
        raise ClusterError(f"{arguments.table}: {problems[0]}; all problems: `{command}`")
    if arguments.racks:
        table = replace(table, servers=with_racks(table.servers, read_racks(arguments.racks)))
    print(_summary(table))
    _print_servers(table, mesh)
    if mesh is not None:
        from pangu_alpha.cluster.rank_tables.placement import shuffled

        other = shuffled(table, _SEED)
        _print_links(table, other, mesh)
        if arguments.draw:
            from pangu_alpha.cluster.rank_tables.picture import draw

            draw(table, other, mesh, arguments.draw)
            say(f"drawn in {arguments.draw}")
    elif arguments.draw:
        raise ConfigError("--draw shows the groups of a mesh: name a recipe with --config")


def _write(table: RankTable, path: Path, mesh: Mesh | None) -> None:
    from pangu_alpha.cluster.rank_tables.check import find_problems
    from pangu_alpha.cluster.rank_tables.rank_table import write_rank_table

    problems = find_problems(table, mesh)
    if problems:
        raise ClusterError("\n".join(["nothing is written, because the table would be wrong:", *map(str, problems)]))
    if path.exists():
        raise ClusterError(f"{path} is there already; remove it, or choose another --output")
    write_rank_table(table, path)
    print(f"{path}: {_summary(table)}")


def _mesh(arguments: argparse.Namespace) -> Mesh | None:
    if arguments.config is None:
        if arguments.overrides:
            raise ConfigError(f"{arguments.overrides[0]!r} belongs to no recipe: name one with --config")
        return None
    from pangu_alpha.config import load_config
    from pangu_alpha.topology.mesh import Mesh

    return Mesh.of(load_config(arguments.config[0], [*arguments.config[1:], *arguments.overrides]).parallel)


def _summary(table: RankTable) -> str:
    origin = ", read from a group_list" if table.is_grouped else ""
    return f"{table.num_devices} device(s) on {len(table.servers)} server(s), format {table.version}{origin}"


def _print_servers(table: RankTable, mesh: Mesh | None) -> None:
    from pangu_alpha.cluster.patterns import ranges

    rows = [["server", "address", "rack", "ranks", "devices"] + (["stages", "replicas", "slices"] if mesh else [])]
    for server in sorted(table.servers, key=lambda server: server.devices[0].rank_id):
        ranks = [device.rank_id for device in server.devices]
        devices = ranges(device.device_id for device in server.devices)
        rows.append([server.server_id, server.address, server.rack or "-", ranges(ranks), devices])
        if mesh:
            places = [mesh.place(rank) for rank in ranks]
            rows[-1] += [ranges({place.stage for place in places}), ranges({place.replica for place in places})]
            rows[-1].append(ranges({place.slice for place in places}))
    _print_rows(rows)


def _print_links(table: RankTable, other: RankTable, mesh: Mesh) -> None:
    from pangu_alpha.cluster.rank_tables.placement import count_links

    print(
        "\nlinks between neighbours of a group: how many join two rings of a server, two servers of a rack, two racks"
    )
    rows = [["groups", "order", "links", "rings", "servers", "racks", "racks, worst group"]]
    for name, shown in (("table", table), ("random", other)):
        for links in count_links(shown, mesh):
            counts = (links.num_links, links.across_rings, links.across_servers, links.across_racks, links.worst_group)
            rows.append([f"{links.axis}: {links.num_groups} of {mesh.size(links.axis)}", name, *map(str, counts)])
    _print_rows(rows)
    if len(table.servers) > 1 and not any(server.rack for server in table.servers):
        say("the table does not say which servers share a rack: name a file that does with --racks")


def _print_rows(rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())
