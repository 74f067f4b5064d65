"""Addresses over time: pods that stay keep theirs, and one that comes again gets another."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_specs import small_spec

from emulator.errors import SpecError
from emulator.ipam import Addressing, allocate
from emulator.spec.resolved import ResolvedSpec

PLUGINS = (("flannel", "host-gw"), ("calico", "vxlan"), ("weave", "fastdp"), ("none", ""))


def having(names: str, plugin: str = "flannel", backend: str = "host-gw") -> ResolvedSpec:
    """Pods ``a``, ``b`` … on n1, capital ones on n2."""
    spec = small_spec(plugin, backend, pods_per_node=1)
    some = spec.pods[0]
    pods = (some._replace(name=c, node="n2" if c.isupper() else "n1") for c in names)
    return spec._replace(pods=tuple(pods))


def through(*steps: str, plugin: str = "flannel", backend: str = "host-gw") -> Addressing:
    """What is handed out at the end."""
    at = allocate(having(steps[0], plugin, backend))
    for step in steps[1:]:
        at = allocate(having(step, plugin, backend), at.ledger)
    return at


@pytest.mark.parametrize(("plugin", "backend"), PLUGINS)
def test_who_stays_keeps_its_address(plugin: str, backend: str) -> None:
    before = through("abcAB", plugin=plugin, backend=backend)
    after = through("abcAB", "acB", plugin=plugin, backend=backend)
    assert after.pod == {name: before.pod[name] for name in "acB"}
    assert through("abcAB", "cBadA", plugin=plugin, backend=backend).pod["c"] == before.pod["c"]


@pytest.mark.parametrize(("plugin", "backend"), PLUGINS)
def test_nothing_changes_when_nothing_changes(plugin: str, backend: str) -> None:
    once = through("abAB", plugin=plugin, backend=backend)
    assert through("abAB", "abAB", plugin=plugin, backend=backend) == once


def test_host_local_goes_on_behind_the_last_address() -> None:
    assert through("ab").pod == {"a": "10.244.1.2", "b": "10.244.1.3"}
    assert through("ab", "b", "ab").pod == {"a": "10.244.1.4", "b": "10.244.1.3"}
    assert through("ab", "a", "ab").pod["b"] == "10.244.1.4", "comes again: another sandbox"


def narrow(names: str) -> ResolvedSpec:
    return having(names)._replace(node_prefixes=(29,))  # room for five


def test_host_local_begins_again_where_it_ends() -> None:
    at = allocate(narrow("abcde"))
    at = allocate(narrow("bcd"), at.ledger)
    at = allocate(narrow("bcdf"), at.ledger)
    assert at.pod["f"] == "10.244.0.10"
    at = allocate(narrow("bcd"), at.ledger)
    at = allocate(narrow("bcdg"), at.ledger)
    assert at.pod["g"] == "10.244.0.14", "the next one behind the last given, not the lowest"
    with pytest.raises(SpecError, match="6 pods on node n1"):
        allocate(narrow("bcdghi"), at.ledger)


def test_weave_takes_the_lowest_free_one() -> None:
    before = through("abc", plugin="weave", backend="fastdp")
    after = through("abc", "bc", "bcd", plugin="weave", backend="fastdp")
    assert after.pod["d"] == before.pod["a"]


def test_calico_gives_again_what_is_free_longest_once_nothing_else_is_left() -> None:
    spec = having("ab", "calico", "bgp")
    some = spec.pods[0]
    full = [some._replace(name=f"p{i}") for i in range(64)]
    network = spec.network._replace(
        options=tuple(sorted({**dict(spec.network.options), "maxBlocksPerHost": 1}.items()))
    )

    def after(at: Addressing | None, names: list[str]) -> Addressing:
        pods = tuple(some._replace(name=name) for name in names)
        changed = spec._replace(pods=pods, network=network)
        return allocate(changed, at.ledger) if at else allocate(changed)

    names = [pod.name for pod in full]
    first = after(None, names)
    less = after(first, [n for n in names if n != "p40"])
    less = after(less, [n for n in names if n not in ("p40", "p7")])
    again = after(less, [n for n in names if n not in ("p40", "p7")] + ["new"])
    assert again.pod["new"] == first.pod["p40"]


def test_another_plugin_makes_every_pod_anew() -> None:
    at = through("ab", "b")
    other = allocate(having("b", "canal", "vxlan"), at.ledger)
    assert other.pod["b"] == "10.244.1.2"


def test_a_pod_that_moves_is_a_new_one() -> None:
    spec = having("ab")
    at = allocate(spec)
    moved = spec._replace(pods=(spec.pods[0], spec.pods[1]._replace(node="n2")))
    there = allocate(moved, at.ledger)
    assert there.pod == {"a": "10.244.1.2", "b": "10.244.2.2"}
    assert allocate(spec, there.ledger).pod["b"] == "10.244.1.4"


@settings(max_examples=60)
@given(
    st.sampled_from(PLUGINS[:3]),
    st.lists(st.sets(st.sampled_from("abcdefABCDEF")), min_size=2, max_size=8),
)
def test_laws_of_time(mode: tuple[str, str], steps: list[set[str]]) -> None:
    plugin, backend = mode
    at = allocate(having("".join(sorted(steps[0])), plugin, backend))
    for before, now in pairwise(steps):
        earlier, at = at, allocate(having("".join(sorted(now)), plugin, backend), at.ledger)
        assert set(at.pod) == now
        assert len(set(at.pod.values())) == len(now)
        assert all(at.pod[name] == earlier.pod[name] for name in before & now)
        pool = ip_network(at.pod_cidr)
        assert all(ip_address(address) in pool for address in at.pod.values())
