"""One test for each mistake that is easily made where policies lead to other nodes, not routes."""

from __future__ import annotations

import json

import pytest
from plan_parts import every, interface
from small_plans import plan, spec
from small_specs import small_spec

from emulator.compile import compile_spec, faulted
from emulator.faults import Fault
from emulator.ipam import allocate
from emulator.oracle import Probe, predict
from emulator.plan import Plan, diff
from emulator.plan.resources import Fdb, File, Neigh, NftTable, Process, Route, Vxlan
from emulator.plan.xfrm import Selector, Template, XfrmPolicy, XfrmSa, XfrmState
from emulator.secrets import WORD, Secrets

N1, N2, N3 = "192.168.1.11", "192.168.1.12", "192.168.1.13"


def made(**more: object) -> Plan:
    return plan(backend="ipsec", **more)  # type: ignore[arg-type]


def settings(plan: Plan, node: str) -> File:
    (found,) = (f for f in every(plan, File, node) if f.path.endswith(".json"))
    return found


def test_three_policies_for_each_other_node() -> None:
    """Out alone would send what the other side drops; without fwd nothing reaches a pod."""
    found = made(nodes=3)
    for node in ("n1", "n2", "n3"):
        policies = every(found, XfrmPolicy, node)
        assert sorted(p.dir for p in policies) == sorted(["out", "in", "fwd"] * 2)
    there = Selector("10.244.1.0/24", "10.244.2.0/24")
    back = Selector("10.244.2.0/24", "10.244.1.0/24")
    of_n2 = [p for p in every(found, XfrmPolicy, "n1") if N2 in p.template]
    assert of_n2 == [
        XfrmPolicy("n1", "out", there, Template(N1, N2, "tunnel", 11)),
        XfrmPolicy("n1", "in", back, Template(N2, N1, "tunnel", 11)),
        XfrmPolicy("n1", "fwd", back, Template(N2, N1, "tunnel", 11)),
    ]


def test_no_device_and_no_route_to_other_subnets_but_some_route() -> None:
    """What is on no route is dropped before a policy is asked."""
    found = made(nodes=3)
    assert not every(found, Vxlan) and not every(found, Neigh, "n1") and not every(found, Fdb)
    assert [r.dst for r in every(found, Route, "n1")] == ["default"]


def test_without_a_default_route_nothing_passes() -> None:
    lonely = small_spec("flannel", "ipsec", routers=(), segments=1, pods_per_node=1)
    answer = predict(lonely, allocate(lonely))[Probe("pod-pod", "n1-p1", "n2-p1", "10.244.2.2")]
    assert answer.outcome == "lost" and "not even a default one" in answer.reason


def test_only_pods_are_protected() -> None:
    """A node's own packets to pods of another node match no policy."""
    found = made()
    inside = {p for r in every(found, XfrmPolicy) for p in (r.selector.src, r.selector.dst)}
    assert inside == {"10.244.1.0/24", "10.244.2.0/24"}
    cluster = spec(backend="ipsec")
    seen = predict(cluster, allocate(cluster))
    assert seen[Probe("node-remote-pod", "n1", "n2-p1", "10.244.2.2")].outcome == "lost"
    assert seen[Probe("pod-remote-node", "n1-p1", "n2", N2)].source == N1


@pytest.mark.parametrize(("encap", "mtu"), [(False, 1423), (True, 1415)])
def test_77_bytes_are_spared_and_8_more_in_udp(encap: bool, mtu: int) -> None:
    """Of AES-CBC's worst case, whatever the proposal needs."""
    found = made(udpEncap=encap)
    assert interface(found, "n1", "cni0").mtu == interface(found, "n1-p1", "eth0").mtu == mtu
    (env,) = (f.text for f in every(found, File, "n1") if f.path.endswith(".env"))
    assert f"FLANNEL_MTU={mtu}\n" in env
    (told,) = json.loads(settings(found, "n1").text)["connections"].values()
    assert told["encap"] == ("yes" if encap else "no")
    assert {sa.encap for sa in every(found, XfrmSa)} == {"4500 4500" if encap else ""}


def test_charon_writes_states_and_no_policies_and_no_routes() -> None:
    """Both would stand beside ours, with priorities of its own."""
    found = made()
    (told,) = json.loads(settings(found, "n1").text)["connections"].values()
    (child,) = told["children"].values()
    assert (child["policies"], child["reqid"], child["mode"]) == ("no", "11", "tunnel")
    assert (child["local_ts"], child["remote_ts"]) == (["10.244.1.0/24"], ["10.244.2.0/24"])
    assert (child["rekey_time"], child["dpd_action"], child["start_action"]) == (
        "1h",
        "restart",
        "start",
    )
    assert child["esp_proposals"] == ["aes128gcm16-sha256-prfsha256-ecp256"]
    assert (told["version"], told["proposals"]) == ("2", ["aes256-sha256-modp4096"])
    (own,) = (f.text for f in every(found, File, "n1") if f.path == "/etc/strongswan.conf")
    assert "install_routes = no" in own


def test_charon_never_gives_a_peer_up() -> None:
    """By strongSwan's defaults it would call five times, and do nothing when the peer hangs up."""
    (told,) = json.loads(settings(made(), "n1").text)["connections"].values()
    (child,) = told["children"].values()
    assert (told["keyingtries"], child["close_action"]) == ("0", "trap")


def test_no_spi_and_no_key_is_in_the_plan() -> None:
    """They change with every rekeying: what is expected is that there are some, both ways."""
    found = made(nodes=3)
    assert not every(found, XfrmState)
    sas = every(found, XfrmSa, "n1")
    assert {(sa.src, sa.dst) for sa in sas} == {(N1, N2), (N2, N1), (N1, N3), (N3, N1)}
    assert {sa.reqid for sa in sas} == {11}
    assert {sa.algorithm for sa in sas} == {"rfc4106(gcm(aes)) 160 icv 128"}
    entries = [e for e in found if type(e.resource) is XfrmSa]
    assert {(e.owner, e.writer) for e in entries} == {("expected", "charon")}


def test_the_secret_is_one_and_long_and_not_in_the_plan() -> None:
    """flannel refuses one of less than 96 characters."""
    found = made(nodes=3)
    texts = [settings(found, node).text for node in ("n1", "n2", "n3")]
    keys = {secret["data"] for text in texts for secret in json.loads(text)["secrets"]}
    (word,) = keys
    assert WORD.fullmatch(word)
    revealed = Secrets(bytes(32)).reveal(texts[0])
    (password,) = {secret["data"] for secret in json.loads(revealed)["secrets"]}
    assert len(password) == 96 and password not in found.text()
    owners = [secret["owners"] for secret in json.loads(texts[1])["secrets"]]
    assert owners == [[N2], [N1], [N3]]


def test_pods_of_other_nodes_are_not_masqueraded_before_a_policy_sees_them() -> None:
    """With the node's address they would match none."""
    (nat,) = (t.text for t in every(made(), NftTable, "n1") if t.name == "nat")
    rows = [row.strip() for row in nat.splitlines()]
    spared = rows.index("ip saddr 10.244.1.0/24 ip daddr 10.244.0.0/16 return")
    assert spared < min(i for i, row in enumerate(rows) if "masquerade" in row)


def test_a_new_node_is_told_to_daemons_that_run() -> None:
    """A restart would tear down every tunnel."""
    before, after = made(nodes=2), made(nodes=3)
    (one,), (other,) = (every(found, Process, "n1") for found in (before, after))
    assert one == other and one.name == "charon" and settings(before, "n1").path in one.reads
    ops = diff(after, {e.resource.key: e.resource for e in before}, before)
    changed = [op for op in ops if op.resource == settings(after, "n1")]
    assert [op.action for op in changed] == ["change"]
    assert not [op for op in ops if op.action == "delete" and op.resource.ns == "n1"]


def test_what_a_dead_daemon_has_negotiated_stays() -> None:
    """Keys outlive it until they expire: nothing is removed, and traffic goes on."""
    cluster = spec(backend="ipsec", nodes=3)
    addressing = allocate(cluster)
    whole = compile_spec(cluster, addressing)
    dead = [Fault("daemon", "n1:charon")]
    found = faulted(whole, cluster, addressing, dead)
    assert not every(found, Process, "n1")
    assert all(sa.if_present for sa in every(found, XfrmSa, "n1"))
    assert {sa.if_present for sa in every(found, XfrmSa, "n2") if N3 in sa} == {False}
    observed = {e.resource.key: e.resource for e in whole}
    assert not [op for op in diff(found, observed, whole) if type(op.resource) is XfrmSa]
    probe = Probe("pod-pod", "n1-p1", "n2-p1", "10.244.2.2")
    assert predict(cluster, addressing, dead)[probe].outcome == "delivered"
