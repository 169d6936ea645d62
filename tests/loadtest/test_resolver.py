import pytest

from contract.topology import FLEET, NODES_BY_NAME, REGION_SHARES, NodeEndpoint
from loadtest.resolver import Resolver

ALL = tuple(NodeEndpoint(spec.name, f"http://{spec.name}:80", f"http://{spec.name}:81") for spec in FLEET)


def names(resolver: Resolver, region: str) -> list[str]:
    return [node.name for node in resolver.answer(region)]


def test_before_anything_is_known_every_node_of_the_region_is_answered() -> None:
    resolver = Resolver(ALL)
    for region in REGION_SHARES:
        assert len(names(resolver, region)) == 2
        assert all(NODES_BY_NAME[name].region == region for name in names(resolver, region))


def test_a_node_that_is_not_ready_leaves_the_answer_and_comes_back() -> None:
    resolver = Resolver(ALL)
    resolver.update({"ams-1": False})
    assert names(resolver, "europe") == ["ams-2"]
    resolver.update({"iad-1": False})
    assert names(resolver, "europe") == ["ams-2"]
    resolver.update({"ams-1": True})
    assert names(resolver, "europe") == ["ams-1", "ams-2"]


def test_with_none_ready_all_of_the_region_are_answered_and_nobody_elses() -> None:
    resolver = Resolver(ALL)
    resolver.update({"ams-1": False, "ams-2": False})
    assert names(resolver, "europe") == ["ams-1", "ams-2"]


def test_a_region_without_a_node_is_served_by_the_rest() -> None:
    resolver = Resolver(ALL[:3])
    assert names(resolver, "asia") == ["ams-1", "ams-2", "iad-1"]
    resolver.update({"ams-2": False})
    assert names(resolver, "asia") == ["ams-1", "iad-1"]


def test_nodes_take_turns_also_across_an_update() -> None:
    resolver = Resolver(ALL)
    picked = [resolver.pick("asia").name for _ in range(4)]
    assert picked == ["nrt-1", "nrt-2", "nrt-1", "nrt-2"]
    resolver.update({"nrt-1": False})
    assert {resolver.pick("asia").name for _ in range(3)} == {"nrt-2"}
    resolver.update({"nrt-1": True})
    assert {resolver.pick("asia").name for _ in range(2)} == {"nrt-1", "nrt-2"}


def test_turns_of_one_region_do_not_move_anothers() -> None:
    resolver = Resolver(ALL)
    resolver.pick("europe")
    assert resolver.pick("asia").name == "nrt-1"


def test_no_nodes_is_a_fault() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Resolver(())
