"""What a spec means once it is loaded, and the topologies that come with the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator import topo
from emulator.ipam import allocate
from emulator.spec import (
    load,
    load_text,
    load_text_with_warnings,
    load_with_warnings,
    schema,
    values,
)
from emulator.spec.medium import Rate
from emulator.spec.resolved import Bandwidth, Bfd, Bgp, Container, Links, Place, Segment

TOPOLOGIES = Path(__file__).parents[2] / "topologies"
HEAD = "apiVersion: podwire/v1\nkind: Cluster\nmetadata: {name: x}\nspec:\n"
FLANNEL = "  network: {plugin: flannel}\n"


def test_everything_has_a_default() -> None:
    spec = load_text(HEAD + FLANNEL + "  nodes: {count: 1}\n", "x.yaml")
    assert spec.pod_cidr == "10.244.0.0/16"
    assert spec.node_prefix == 24
    assert spec.network.backend == "vxlan"
    assert spec.network.options == (
        ("directRouting", False),
        ("enableNFTables", False),
        ("ipMasq", True),
        ("listenPort", 51820),
        ("listenPortV6", 51821),
        ("mode", "separate"),
        ("persistentKeepaliveInterval", 0),
        ("port", 8472),
        ("psk", False),
        ("udpEncap", False),
        ("vni", 1),
    )
    place = Place("x.yaml", 4, 1, "spec.underlay.segments.rack")
    assert spec.segments == (Segment("rack", ("192.168.50.0/24",), place),)
    assert spec.links == Links(1500, "wire")
    assert (spec.routers, spec.hosts, spec.pods) == ((), (), ())
    assert spec.congestion_control is None


@pytest.mark.parametrize(
    ("written", "bgp"),
    [
        ("", Bgp(6, None)),
        ("bgp: {holdTime: 90s}", Bgp(90, None)),
        ("bgp: {bfd: {}}", Bgp(6, Bfd(100, 5))),
        ("bgp: {holdTime: 3000ms, bfd: {interval: 0.3s, multiplier: 3}}", Bgp(3, Bfd(300, 3))),
    ],
)
def test_timers_of_routers_have_units_and_defaults(written: str, bgp: Bgp) -> None:
    text = f"{HEAD}{FLANNEL}  nodes: {{count: 1}}\n  underlay: {{routing: bgp, {written}}}\n"
    assert load_text(text).bgp == bgp


def test_counted_nodes_take_turns_on_the_segments() -> None:
    spec = load(TOPOLOGIES / "two-racks.yaml")
    assert [(n.name, n.segment) for n in spec.nodes] == [
        ("n1", "rack-a"),
        ("n2", "rack-b"),
        ("n3", "rack-a"),
        ("n4", "rack-b"),
    ]
    assert [p.id for p in spec.pods[:3]] == ["n1-p1", "n1-p2", "n2-p1"]
    assert spec.pods[0].containers == (Container("main", (), ()),)


def test_values_know_their_places() -> None:
    spec = load_text((TOPOLOGIES / "two-racks.yaml").read_text(), "f.yaml")
    assert str(spec.network.place) == "f.yaml:8:3: spec.network"
    assert str(spec.segments[1].place) == "f.yaml:12:7: spec.underlay.segments.rack-b"
    assert str(spec.routers[0].place) == "f.yaml:13:15: spec.underlay.routers.core"
    assert str(spec.hosts[0].place) == "f.yaml:15:13: spec.underlay.hosts.client"
    assert str(spec.nodes[3].place) == "f.yaml:16:3: spec.nodes"
    assert str(spec.pods[7].place) == "f.yaml:17:3: spec.pods"


def test_manifests_are_pods_of_kubernetes() -> None:
    web, client, agent = load(TOPOLOGIES / "manifests.yaml").pods
    assert web.id == "shop.web"
    assert web.labels == (("app", "web"), ("tier", "front"))
    assert [container.name for container in web.containers] == ["server", "sidecar"]
    assert web.containers[0].command[:4] == ("python3", "-m", "http.server", "8080")
    assert web.containers[0].env == (("PYTHONUNBUFFERED", "1"),)
    assert client.restart_policy == "Never"
    assert agent.host_network
    assert agent.id == "agent"
    assert web.place.path == "Pod/web metadata.name"


def test_a_shorthand_pod_is_a_pod_with_one_container() -> None:
    pods = "  pods: [{name: a, node: n1, namespace: t, labels: {b: c, a: b}, command: [sleep]}]\n"
    (pod,) = load_text(HEAD + FLANNEL + "  nodes: {count: 1}\n" + pods).pods
    assert (pod.id, pod.labels) == ("t.a", (("a", "b"), ("b", "c")))
    assert pod.containers == (Container("main", ("sleep",), ()),)


def test_without_a_pod_network_the_pods_of_the_shorthand_are_in_the_host_network() -> None:
    assert all(pod.host_network for pod in load(TOPOLOGIES / "host.yaml").pods)


@pytest.mark.parametrize(
    ("rate", "value"),
    [
        ("1gbit", Rate(10**9, "tbf")),
        ("1.5Gbit", Rate(1_500_000_000, "tbf")),
        ("{value: 100 mbit, by: htb}", Rate(100_000_000, "htb")),
        ("{value: 64kbit}", Rate(64_000, "tbf")),
        ('"8000bit"', Rate(8000, "tbf")),
    ],
)
def test_rates_are_in_the_units_of_tc(rate: str, value: Rate) -> None:
    links = f"  underlay: {{links: {{rate: {rate}}}}}\n"
    assert load_text(HEAD + FLANNEL + "  nodes: {count: 1}\n" + links).links.ends.both.rate == value


def test_plugin_none_joins_no_nodes_and_so_needs_no_path() -> None:
    racks = "{a: {cidr: 192.168.1.0/24}, b: {cidr: 192.168.2.0/24}}"
    text = f"  underlay: {{segments: {racks}}}\n  nodes: {{count: 2, spread: [a, b]}}\n"
    assert len(load_text(HEAD + "  network: {plugin: none}\n" + text).nodes) == 2


def test_segments_are_connected_over_several_routers() -> None:
    racks = ", ".join(f"{name}: {{cidr: 192.168.{i}.0/24}}" for i, name in enumerate("abcd"))
    text = (
        f"  underlay:\n    segments: {{{racks}}}\n"
        "    routers: {r1: {segments: [c, d]}, r2: {segments: [a, b]}, r3: {segments: [b, c]}}\n"
        "  nodes: {count: 2, spread: [a, d]}\n"
    )
    assert load_text(HEAD + FLANNEL + text).nodes[1].segment == "d"


def test_what_is_accepted_and_not_used_is_a_warning() -> None:
    pod = (
        "---\napiVersion: v1\nkind: Pod\nmetadata: {name: web, annotations: {a: b}}\n"
        "spec: {nodeName: n1, containers: [{name: main, image: nginx}]}\n"
    )
    text = HEAD + FLANNEL + "  nodes: {count: 1}\n" + pod
    spec, warnings = load_text_with_warnings(text, "f.yaml")
    assert [pod.id for pod in spec.pods] == ["web"]
    assert [warning.place for warning in warnings] == [
        "f.yaml:10:37: Pod/web metadata.annotations.a",
        "f.yaml:11:55: Pod/web spec.containers[0].image",
    ]
    assert warnings[1].hint.startswith("image is not used: a container runs its command")


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("10M", 10_000_000),
        ("1.5G", 1_500_000_000),
        ("1e6", 1_000_000),
        ("1E3", 1_000),
        ("2Ki", 2_048),
        (".5M", 500_000),
        ("+64k", 64_000),
        ("1000000500m", 1_000_001),
        ("1P", 10**15),
    ],
)
def test_a_bandwidth_is_a_quantity_of_kubernetes(text: str, bits: int) -> None:
    assert values.bandwidth(text) == bits
    assert values.bandwidth(values.quantity_text(bits)) == bits


def test_a_misspelt_annotation_is_a_warning_with_the_nearest() -> None:
    pod = (
        "---\napiVersion: v1\nkind: Pod\n"
        "metadata: {name: web, annotations: {kubernetes.io/ingress-bandwith: 10M}}\n"
        "spec: {nodeName: n1, containers: [{name: main}]}\n"
    )
    spec, (warning,) = load_text_with_warnings(HEAD + FLANNEL + "  nodes: {count: 1}\n" + pod)
    assert spec.pods[0].bandwidth == Bandwidth(0, 0)
    assert warning.hint == 'did you mean "kubernetes.io/ingress-bandwidth"?'


def test_a_fabric_without_a_router_is_a_warning() -> None:
    text = HEAD + "  network: {plugin: kubenet}\n  nodes: {count: COUNT}\n"
    assert load_text_with_warnings(text.replace("COUNT", "1")).warnings == []
    (warning,) = load_text_with_warnings(text.replace("COUNT", "2"), "f.yaml").warnings
    assert warning.place == "f.yaml:5:3: spec.network"
    assert warning.found == "plugin kubenet with nodes on rack, where no router stands"
    assert "pods of different nodes do not reach each other" in warning.hint


def test_routers_that_nobody_tells_of_pods_are_a_warning() -> None:
    racks = "underlay: {leafSpine: {leaves: 2, spines: 1}, routing: bgp}"
    mesh = "calico, backend: bgp"
    told = "calico, backend: bgp, nodeToNodeMeshEnabled: false, peerWithRouters: true"
    for network, warned in (
        (mesh, True),
        (told, False),
        ("calico, backend: vxlan", False),
        ("kube-router", False),
        ("kube-router, enableOverlay: false", True),
        ("kube-router, enableOverlay: false, peerRouters: true", False),
    ):
        text = f"{HEAD}  network: {{plugin: {network}}}\n  {racks}\n  nodes: {{count: 2}}\n"
        warnings = load_text_with_warnings(text, "f.yaml").warnings
        assert [w.found.partition(" with ")[2] for w in warnings] == (
            ["nodes in 2 segments (rack1, rack2)"] if warned else []
        )
        assert all("do not reach each other" in w.hint for w in warnings)


NODES_AND_PODS = {
    "flannel-vxlan": (2, 4),
    "flannel-host-gw": (2, 4),
    "flannel-udp": (2, 4),
    "flannel-alloc": (2, 4),
    "flannel-ipsec": (2, 4),
    "flannel-ipsec-two-racks": (3, 3),
    "flannel-wireguard": (3, 6),
    "flannel-wireguard-dual-stack": (2, 4),
    "cni-bridge": (2, 4),
    "cni-podman": (2, 4),
    "kube-router": (3, 6),
    "kube-router-two-racks": (4, 4),
    "kube-router-tunnels": (3, 3),
    "kube-router-gue": (2, 2),
    "romana": (3, 6),
    "romana-published": (4, 4),
    "kube-router-peer-routers": (4, 4),
    "canal": (2, 4),
    "kube-router-dual-stack": (3, 6),
    "kubenet": (2, 4),
    "kubenet-shaped": (2, 4),
    "canal-dual-stack": (2, 4),
    "flannel-dual-stack": (3, 6),
    "flannel-ipv6": (3, 6),
    "flannel-direct-routing": (4, 8),
    "tree-topo": (4, 4),
    "two-racks": (4, 8),
    "calico-bgp": (3, 6),
    "calico-bgp-dual-stack": (3, 3),
    "calico-dual-stack": (3, 6),
    "calico-cross-subnet": (4, 8),
    "calico-route-reflector": (5, 5),
    "calico-tor": (4, 4),
    "calico-vxlan": (3, 6),
    "calico-wireguard": (3, 6),
    "calico-wireguard-dual-stack": (2, 4),
    "leaf-spine": (4, 4),
    "leaf-spine-bgp": (4, 4),
    "wan": (2, 2),
    "weave": (3, 6),
    "weave-encrypted": (3, 6),
    "weave-sleeve": (3, 6),
    "flannel-ipip": (3, 6),
    "canal-ipip": (3, 6),
    "calico-ipip": (3, 6),
    "calico-ipip-cross-subnet": (3, 6),
    "calico-ipip-dual-stack": (3, 3),
    "overlay-vxlan": (3, 6),
    "overlay-geneve": (3, 6),
    "overlay-ipip": (3, 6),
    "weave-sleeve-encrypted": (3, 6),
    "none": (2, 4),
    "host": (2, 2),
    "manifests": (2, 3),
    "cluster-10x10": (10, 100),
    "cluster-50x10": (50, 500),
    "cluster-100x100": (100, 10_000),
}


def test_every_topology_is_listed_here() -> None:
    assert {path.stem for path in TOPOLOGIES.glob("*.yaml")} == set(NODES_AND_PODS)


@pytest.mark.parametrize("name", NODES_AND_PODS)
def test_a_topology_loads_and_warns_only_where_it_is_meant_to_fail(name: str) -> None:
    path = TOPOLOGIES / f"{name}.yaml"
    spec, warnings = load_with_warnings(path, topo=topo.read)
    assert spec.name == name
    assert len(warnings) == (name == "kube-router-two-racks")
    assert (len(spec.nodes), len(spec.pods)) == NODES_AND_PODS[name]
    assert len(allocate(spec).node) == len(spec.nodes)
    assert path.read_text().startswith("# ")


def test_the_routed_topology_differs_from_the_overlay_in_the_backend_only() -> None:
    routed = load(TOPOLOGIES / "flannel-host-gw.yaml")
    overlay = load(
        TOPOLOGIES / "flannel-vxlan.yaml",
        {"spec.network.backend": "host-gw", "metadata.name": "flannel-host-gw"},
    )
    assert overlay.network[:3] == routed.network[:3]
    assert [n[:3] for n in overlay.nodes] == [n[:3] for n in routed.nodes]
    nowhere = overlay.place
    assert [p._replace(place=nowhere) for p in overlay.pods] == [
        p._replace(place=nowhere) for p in routed.pods
    ]
    assert [h[:3] for h in overlay.hosts] == [h[:3] for h in routed.hosts]


def test_the_schema_has_both_kinds_and_no_null() -> None:
    made = schema()
    definitions = made["$defs"]
    kinds = [part["properties"]["kind"]["const"] for part in made["oneOf"]]
    assert kinds == ["Cluster", "Pod"]
    assert '"null"' not in str(made).replace("'", '"')
    backends = definitions["FlannelOptions"]["properties"]["backend"]["enum"]
    assert backends == ["vxlan", "host-gw", "ipip", "udp", "wireguard", "ipsec", "alloc"]
    assert all(d["additionalProperties"] is False for d in definitions.values())
    fields = definitions["LinksDoc"]["properties"]
    assert fields["mtu"]["maximum"] == 65535
    assert {"$ref": "#/$defs/RateDoc"} in fields["rate"]["oneOf"]
