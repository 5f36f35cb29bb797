import pytest

from pangu_alpha.config import load_config
from pangu_alpha.errors import ConfigError
from pangu_alpha.planner.communication import Message, real_axes
from pangu_alpha.planner.hardware import Hardware, Link, list_hardware, load_hardware, varied
from pangu_alpha.planner.placement import PlacedHardware, Places, describe_links, placed
from pangu_alpha.planner.pricing import message_seconds
from pangu_alpha.planner.search import Search
from pangu_alpha.planner.space import meshes
from pangu_alpha.topology.mesh import Axis, Mesh

GB = 10**9


def places(num: int, per_server: int = 8, per_rack: int = 0) -> Places:
    """Consecutive ranks in servers of one size, and in racks of one number of devices."""
    racks = tuple(f"rack{rank // per_rack}" for rank in range(num)) if per_rack else ()
    servers = tuple(f"server{rank // per_server}" for rank in range(num))
    return Places("cluster.yaml", servers, tuple(rank % per_server for rank in range(num)), racks)


def chip(*names: str) -> Hardware:
    """910A with links of 1, 1/2, 1/4, … GB/s and no latency, which join 4, 8, 16, … devices, the last ones all."""
    sizes = [4 << level for level in range(len(names) - 1)] + [1 << 17]
    links = [
        Link(name=name, devices=devices, gb_per_s=2.0**-level, latency_us=0)
        for level, (name, devices) in enumerate(zip(names, sizes, strict=True))
    ]
    return load_hardware("910a").model_copy(update={"links": tuple(links)})


PROFILES = {
    **{name: load_hardware(name) for name in list_hardware()},
    "racks": chip("ring", "server", "rack", "network"),
}


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("num_devices", [8, 64, 512])
def test_what_the_profile_assumes_is_priced_as_by_the_profile(name: str, num_devices: int) -> None:
    """Every collective of every mesh, to the last bit."""
    profile = PROFILES[name]
    known = placed(profile, places(num_devices, 8, 16 if name == "racks" else 768))
    kinds: list[tuple[Axis, ...]] = [("mp",), ("dp",), ("dp", "mp"), ("pp", "dp", "mp")]
    for layout in meshes(num_devices):
        mesh = Mesh(layout.dp, layout.mp, layout.pp)
        for axes in {real_axes(axes, mesh) for axes in kinds} - {()}:
            message = Message("gradients", "AllReduce", axes, GB, 3)
            assert message_seconds(message, mesh, known) == message_seconds(message, mesh, profile), (mesh, axes)
        if mesh.pp > 1:
            message = Message("pipeline", "Send", ("pp",), GB, 3)
            assert message_seconds(message, mesh, known) == message_seconds(message, mesh, profile), mesh


def test_a_search_finds_the_same_on_places_that_the_profile_assumes() -> None:
    recipe, profile = load_config("200b_2048"), load_hardware("910a")
    found = [
        Search(recipe, 2048, hardware, hardware.memory_bytes, 256).run()
        for hardware in (profile, placed(profile, places(2048)))
    ]
    assert found[0].best[:3] == found[1].best[:3]
    assert found[0].num_layouts == found[1].num_layouts > 3000


def test_servers_are_as_large_as_they_are() -> None:
    """Sixteen ranks of mp: on one server of 16 its links carry them, on two of 8 the network does too."""
    message = Message("forward", "AllGather", ("mp",), 16 * GB)
    mesh, profile = Mesh(dp=1, mp=16, pp=1), chip("ring", "server", "network")
    ring, server, network = 12.0, 4 / 16 * 0.5 * 16 * 2, 1 / 8 * 0.5 * 16 * 4
    assert message_seconds(message, mesh, placed(profile, places(16, 8))) == pytest.approx(ring + server + network)
    four_rings = 4 / 16 * 3 / 4 * 16 * 2
    assert message_seconds(message, mesh, placed(profile, places(16, 16))) == pytest.approx(ring + four_rings)


def test_racks_need_neither_be_equal_nor_consecutive() -> None:
    """Replicas on servers of one device: neighbours in racks 0, 1, 0 cross racks, and three in rack 0 do not."""
    message, mesh = Message("gradients", "AllGather", ("dp",), 3 * GB), Mesh(dp=3, mp=1, pp=1)
    profile = chip("server", "rack", "network")
    here, there = (
        message_seconds(message, mesh, placed(profile, Places("x", ("a", "b", "c"), (0, 0, 0), racks)))
        for racks in (("0", "0", "0"), ("0", "1", "0"))
    )
    assert here == pytest.approx(2 / 3 * 3 * 2)
    # Rack 0 first shares between its two, then the one of rack 1 fetches two thirds of the tensor.
    assert there == pytest.approx(1 / 2 * 3 * 2 + 2 / 3 * 3 * 4)


def test_the_slowest_group_counts() -> None:
    """One pair of mp lies in a server, the other one across."""
    message, mesh = Message("forward", "AllGather", ("mp",), GB), Mesh(dp=2, mp=2, pp=1)
    known = placed(chip("server", "network"), Places("x", ("a", "a", "b", "c"), (0, 1, 0, 0)))
    assert message_seconds(message, mesh, known) == pytest.approx(1 / 2 * 2)


def test_the_slowest_hop_between_stages_counts() -> None:
    message, mesh = Message("pipeline", "Send", ("pp",), GB), Mesh(dp=4, mp=1, pp=4)
    known = placed(chip("server", "network"), places(16, 8))
    assert message_seconds(message, mesh, known) == pytest.approx(2)


def test_rings_go_by_the_devices_numbers() -> None:
    """Devices 2 to 5 of a server are of two rings."""
    message, mesh = Message("forward", "AllGather", ("mp",), GB), Mesh(dp=1, mp=4, pp=1)
    known = placed(chip("ring", "server", "network"), Places("x", ("a",) * 4, (2, 3, 4, 5)))
    assert message_seconds(message, mesh, known) == pytest.approx(1 / 2 + 1 / 2 * 1 / 2 * 2)


def test_a_level_that_the_places_do_not_say_is_the_profiles() -> None:
    """Racks of 16 devices by rank; a server of 12 that begins in the first one stays whole."""
    profile = chip("ring", "server", "rack", "network")
    known = placed(profile, Places("x", ("a",) * 12 + ("b",) * 12 + ("c",) * 8, (*range(12), *range(12), *range(8))))
    ring, server, rack, network = known.units.levels
    assert len(set(ring.tolist())) == 8 and len(set(server.tolist())) == 3
    assert rack.tolist() == [0] * 24 + [1] * 8 and set(network.tolist()) == {0}


def test_other_rates_keep_the_places() -> None:
    known = placed(chip("server", "network"), places(16, 8))
    message, mesh = Message("forward", "AllGather", ("dp",), GB), Mesh(dp=2, mp=8, pp=1)
    faster = varied(known, 1.0, 2.0)
    assert isinstance(faster, PlacedHardware) and faster.units is known.units
    assert message_seconds(message, mesh, faster) == pytest.approx(message_seconds(message, mesh, known) / 2)


@pytest.mark.parametrize(
    ("names", "known", "words"),
    [
        (("server", "network"), places(16), "links: 8 devices a server, 2 servers, from cluster.yaml"),
        (
            ("server", "rack", "network"),
            places(64, 8, 32),
            "links: 8 devices a server, 8 servers in 2 racks of 4, from cluster.yaml",
        ),
        (
            ("super-pod", "network"),
            places(64, 16, 48),
            "links: 16 devices a server, 4 servers in 2 super-pods of 1 to 3, from cluster.yaml",
        ),
        (
            ("server", "rack", "network"),
            places(64),
            "links: 8 devices a server, 8 servers, from cluster.yaml; rack (8) from the profile",
        ),
        (
            ("server", "network"),
            places(8, 8, 8),
            "links: 8 devices a server, 1 server in 1 rack of 1, from cluster.yaml; racks count for nothing: the "
            "profile has no level `rack`",
        ),
        (
            ("ring", "server", "network"),
            None,
            "links: ring (4), server (8), network, of consecutive ranks, from the profile",
        ),
    ],
)
def test_a_line_says_which_levels_there_are(names: tuple[str, ...], known: Places | None, words: str) -> None:
    assert describe_links(chip(*names) if known is None else placed(chip(*names), known)) == words


def test_a_profile_whose_levels_have_other_names_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no level of links of .* is called so: name one of them \(near \(4\), far"):
        placed(chip("near", "far"), places(16))


def test_servers_that_nothing_joins_are_refused() -> None:
    assert placed(chip("ring", "server"), places(8))
    with pytest.raises(ConfigError, match=r"server is its last level of links: add one to the profile that joins them"):
        placed(chip("ring", "server"), places(16))
