"""Families of addresses: what a spec may leave out, and what it cannot have."""

from __future__ import annotations

import pytest

from emulator.cni.options import PLUGINS
from emulator.errors import SpecError
from emulator.ipam import allocate
from emulator.spec import load_text

HEAD = """\
apiVersion: podwire/v1
kind: Cluster
metadata: {name: families}
spec:
  network: {plugin: flannel}
  nodes: {count: 2}
  pods: {perNode: 1}
"""
DUAL = HEAD + "  podCIDR: [10.244.0.0/16, fd00:10:244::/56]\n"


def test_a_segment_that_is_not_written_has_the_families_of_the_pods() -> None:
    spec = load_text(DUAL)
    assert spec.pod_cidrs == ("10.244.0.0/16", "fd00:10:244::/56")
    assert spec.node_prefixes == (24, 64)
    assert spec.segments[0].cidrs == ("192.168.50.0/24", "fd00:192:168:50::/64")
    assert spec.segments[0].cidr == "192.168.50.0/24"


def test_a_pod_network_that_is_not_written_has_the_families_of_the_segments() -> None:
    spec = load_text(HEAD + "  underlay: {segments: {rack: {cidr: [fd00:1::/64, 10.1.0.0/24]}}}\n")
    assert spec.pod_cidrs == ("fd00:10:244::/56", "10.244.0.0/16")
    assert spec.node_prefix == 64


def test_the_first_network_of_the_pods_is_the_primary_one_on_segments_too() -> None:
    spec = load_text(
        HEAD
        + "  podCIDR: [fd00:10:244::/56, 10.244.0.0/16]\n"
        + "  underlay: {segments: {rack: {cidr: [10.1.0.0/24, fd00:1::/64]}}}\n"
    )
    assert spec.segments[0].cidrs == ("fd00:1::/64", "10.1.0.0/24")
    at = allocate(spec)
    assert [one.family.name for one in at.families] == ["IPv6", "IPv4"]
    assert [one.pod["n1-p1"] for one in at.families] == ["fd00:10:244:1::2", "10.244.1.2"]
    assert [one.node["n1"] for one in at.families] == ["fd00:1::b", "10.1.0.11"]
    assert [one.gateway["n2"] for one in at.families] == ["fd00:10:244:2::1", "10.244.2.1"]


def test_a_plugin_without_ipv6_is_refused_and_those_with_it_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = PLUGINS["flannel"]._replace(ipv6=("host-gw",))
    monkeypatch.setitem(PLUGINS, "flannel", row)  # type: ignore[arg-type]
    with pytest.raises(SpecError) as refused:
        load_text(DUAL, "x.yaml")
    text = str(refused.value)
    assert "x.yaml:8:12: spec.podCIDR: found IPv6 with plugin flannel and backend vxlan" in text
    assert "flannel (host-gw)" in text
    assert load_text(HEAD)


def test_outside_hosts_of_a_large_segment_have_short_addresses() -> None:
    spec = load_text(DUAL.replace("nodes:", "underlay: {hosts: {out: {segment: rack}}}\n  nodes:"))
    (_, six) = allocate(spec).families
    assert six.host == {"out": "fd00:192:168:50::fffe"}
