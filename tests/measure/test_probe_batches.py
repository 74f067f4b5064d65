"""Pacing: how probes are cut into batches that spare the neighbour tables."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from small_specs import small_spec

from emulator.ipam import allocate
from emulator.measure.probe import batches
from emulator.measure.whereabouts import whereabouts
from emulator.oracle import probes


@given(
    st.integers(1, 4),
    st.integers(0, 4),
    st.integers(1, 200),
    st.sampled_from(("none", "flannel", "weave")),
)
def test_every_probe_once_and_its_namespaces_with_it(
    nodes: int, pods: int, budget: int, plugin: str
) -> None:
    nodes_at = ["rack-a"] * nodes
    spec = small_spec(plugin, nodes=nodes_at, pods_per_node=pods, host_pods=("n1",))
    wanted, places = list(probes(spec, allocate(spec))), whereabouts(spec)
    cut = list(batches(wanted, places, budget))
    assert sorted(i for batch, _ in cut for i in batch) == list(range(len(wanted)))
    for batch, namespaces in cut:
        assert len(set(namespaces)) == len(namespaces)
        for i in batch:
            ends = {places[wanted[i].client].namespace, places[wanted[i].server].namespace}
            assert ends <= set(namespaces)
        assert len(batch) == 1 or 2 * len(namespaces) <= budget + 2


def test_a_full_mesh_on_one_bridge_is_cut() -> None:
    spec = small_spec("flannel", nodes=["rack-a"], pods_per_node=30, hosts=())
    wanted = list(probes(spec, allocate(spec)))
    sizes = [len(batch) for batch, _ in batches(wanted, whereabouts(spec), 200)]
    assert sum(sizes) == len(wanted)
    assert max(sizes) <= 200
    assert len(list(batches(wanted, whereabouts(spec), 10_000))) == 1


def test_the_one_who_holds_the_address_nearby_is_there_to_answer() -> None:
    spec = small_spec("none", pods_per_node=2, hosts=())
    wanted = [p for p in probes(spec, allocate(spec)) if p.kind == "pod-pod"]
    for batch, namespaces in batches(wanted, whereabouts(spec), 8):
        for i in batch:
            if (wanted[i].client, wanted[i].server) == ("n1-p1", "n2-p2"):
                assert "n1-p2" in namespaces


def test_a_segment_of_all_nodes_is_cut_as_one_bridge_would_be() -> None:
    spec = small_spec("weave", nodes=["rack-a"] * 2, pods_per_node=15, hosts=())
    wanted = [p for p in probes(spec, allocate(spec)) if p.kind == "pod-pod"]
    for batch, namespaces in batches(wanted, whereabouts(spec), 200):
        pairs = {frozenset((wanted[i].client, wanted[i].server)) for i in batch}
        assert 2 * (len(pairs) + len(namespaces)) <= 200
