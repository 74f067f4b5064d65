"""The words of the shell script, resource by resource."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from kernel_scenarios import BURSTS, EVERYTHING, FDB, HTB, NEIGH, SHAPED, SLOWED, TBF, WIRED, A, up
from small_plans import plan

from emulator.plan import Plan
from emulator.plan.resources import (
    Addr,
    Attachment,
    File,
    Hop,
    Interface,
    Netns,
    NftTable,
    Process,
    Resource,
    Route,
    Rule,
    Sysctl,
    Vxlan,
    WireguardPeer,
    multipath,
    veth,
)
from emulator.plan.script import script
from emulator.secrets import public_key

SYSCTL = "ip netns exec a sysctl"

WORDS: list[tuple[Resource, str]] = [
    (Netns("b"), "ip netns add b"),
    (Addr("a", "x", "10.0.0.1/24"), "ip -n a addr add 10.0.0.1/24 brd + dev x"),
    (Addr("a", "x", "10.0.0.1/32"), "ip -n a addr add 10.0.0.1/32 dev x"),
    (Addr("a", "x", "10.0.0.1/32", "link"), "ip -n a addr add 10.0.0.1/32 dev x scope link"),
    (
        Route("a", "10.1.0.0/16", "10.0.0.2", "x", True),
        "ip -n a route add 10.1.0.0/16 via 10.0.0.2 dev x onlink",
    ),
    (
        Route("a", "10.1.0.2/32", "", "x", False, "link", "bird", "10.0.0.1", 5, 100),
        "ip -n a route add 10.1.0.2/32 dev x proto bird src 10.0.0.1 metric 5 table 100",
    ),
    (Route("a", "10.1.0.0/16", "", "x"), "ip -n a route add 10.1.0.0/16 dev x scope global"),
    (
        multipath(
            Route("a", "10.1.0.0/16", "", ""), [Hop("10.0.0.2", "y", 2), Hop("10.0.0.1", "x")]
        ),
        "ip -n a route add 10.1.0.0/16"
        " nexthop via 10.0.0.1 dev x weight 1 nexthop via 10.0.0.2 dev y weight 2",
    ),
    (
        Route("a", "10.1.0.0/26", "", "", proto="80", type="blackhole"),
        "ip -n a route add blackhole 10.1.0.0/26 proto 80",
    ),
    (
        Rule("a", 100, "from all fwmark 0x1", 7),
        "ip -n a rule add from all fwmark 0x1 priority 100 table 7",
    ),
    (Addr("a", "x", "fd00::1/64"), "ip -n a addr add fd00::1/64 dev x nodad"),
    (
        Addr("a", "x", "fe80::1/64", "link"),
        "ip -n a addr add fe80::1/64 dev x scope link nodad",
    ),
    (Route("a", "::/0", "fe80::1", "x"), "ip -n a -6 route add ::/0 via fe80::1 dev x"),
    (Route("a", "fd00::5/128", "", "x"), "ip -n a -6 route add fd00::5/128 dev x"),
    (Rule("a", 9, "from all", 7, "ip6"), "ip -n a -6 rule add from all priority 9 table 7"),
    (
        BURSTS,
        "tc -n a qdisc add dev x root handle 11: netem limit 4000 delay 20ms 2ms"
        " distribution normal loss gemodel 0.075% 74.925%",
    ),
    (
        EVERYTHING,
        "tc -n a qdisc add dev x root handle 12: netem limit 9000 delay 12345us 1001us"
        " distribution pareto loss 0.0000333% duplicate 100% reorder 0.0000007% gap 5"
        " corrupt 0.0000001%",
    ),
    (
        SLOWED,
        "tc -n a qdisc add dev x parent 10:1 handle 1: tbf rate 100000000bit burst 68000b"
        " limit 380500b",
    ),
    (
        WireguardPeer("a", "x", public_key("b"), "[fd00::1]:5", ("10.2.0.0/16", "fd02::/64")),
        'ip netns exec a wg set x peer "${public_key_b}" endpoint [fd00::1]:5'
        " allowed-ips 10.2.0.0/16,fd02::/64",
    ),
    (NEIGH, "ip -n a neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev x nud permanent"),
    (FDB, "bridge -n a fdb append 02:00:00:00:00:09 dev vx dst 10.0.0.9 self permanent"),
    (
        Sysctl("a", "net/ipv6/conf/flannel.1/accept_ra", "0"),
        f"{SYSCTL} -qw net/ipv6/conf/flannel.1/accept_ra=0",
    ),
    (Sysctl("a", "net/bridge/x", "1", True), f"{SYSCTL} -eqw net/bridge/x=1"),
    (Sysctl("a", "net/ipv4/tcp_rmem", "1 2 3"), f"{SYSCTL} -qw 'net/ipv4/tcp_rmem=1 2 3'"),
    (
        Process("a", "p/c", ("sh", "-c", "echo hi\nexit"), (("K", "v"),), "Never"),
        "# p/c, restart Never:\n# ip netns exec a env K=v sh -c 'echo hi\n# exit'",
    ),
]


def of(*resources: Resource) -> Plan:
    made = Plan()
    made.add(resources, "test")
    return made


@pytest.mark.parametrize(("resource", "words"), WORDS, ids=lambda value: getattr(value, "kind", ""))
def test_words(resource: Resource, words: str) -> None:
    assert f"\n{words}\n" in script(of(*(r for r in WIRED if r != resource), resource))


@pytest.mark.parametrize(
    ("device", "words"),
    [
        (up("a", "x", 1400), "mtu 1400 addrgenmode none"),
        (
            Interface("a", "x", True, 1500, "02:00:00:00:00:01", "br", True, False, False, True),
            "mtu 1500 address 02:00:00:00:00:01 master br addrgenmode none\n"
            "ip netns exec a ethtool -K x tso off gso off gro on\n"
            "ip -n a link set dev x type bridge_slave hairpin on\n"
            "ip -n a link set dev x up",
        ),
    ],
)
def test_an_interface_is_configured_before_it_is_up(device: Interface, words: str) -> None:
    assert f"\nip -n a link set dev x {words}\n" in script(of(*A, device))


def test_an_interface_that_is_down_is_not_raised() -> None:
    text = script(of(*A, up("a", "x")._replace(up=False)))
    assert "dev x up" not in text
    assert "dev lo up" in text


def test_shapers() -> None:
    tc = "tc -n a"
    assert (
        f"\n{tc} qdisc add dev x root handle 1: tbf rate 100000000bit burst 68000b limit 380500b\n"
        in (script(of(*WIRED, TBF)))
    )
    assert (
        f"\n{tc} qdisc add dev x root handle 1: htb default 1\n"
        f"{tc} class add dev x parent 1: classid 1:1 htb rate 100000000bit ceil 100000000bit"
        " burst 68000b cburst 68000b\n"
        f"{tc} qdisc add dev x parent 1:1 handle 2: bfifo limit 380500b\n"
    ) in script(of(*WIRED, HTB))


def test_classes_and_filters() -> None:
    tc = "tc -n a"
    assert (
        f"\n{tc} qdisc add dev x root handle 1: htb default 30\n"
        f"{tc} class add dev x parent 1: classid 1:1 htb rate 12345000bit burst 1600b"
        " cburst 1600b\n"
        f"{tc} class add dev x parent 1: classid 1:10 htb rate 40000000000bit burst 1605b"
        " cburst 1605b\n"
        f"{tc} filter add dev x protocol ip parent 1: prio 1 handle ::800 u32"
        " match ip dst 10.1.2.3/32 flowid 1:1\n"
        f"{tc} filter add dev x protocol ip parent 1: prio 1 handle ::801 u32"
        " match ip src 10.1.2.3/32 flowid 1:10\n"
    ) in script(of(*SHAPED))


def test_a_cable_is_made_once_in_the_first_section_that_can() -> None:
    pair = veth("n10", "x", "n2", "y")
    assert pair.ns == "n10"
    text = script(of(Netns("n2"), Netns("n10"), pair, up("n2", "y"), up("n10", "x")))
    assert text.count("type veth") == 1
    assert "\nip -n n2 link add name y type veth peer name x netns n10\n" in text
    assert text.index("= n2 =") < text.index("type veth") < text.index("= n10 =")
    inside = script(of(*A, veth("a", "x", "a", "y"), up("a", "x"), up("a", "y")))
    assert "\nip -n a link add name x type veth peer name y\n" in inside


def test_a_tunnel_follows_its_parent() -> None:
    tunnel = Vxlan("a", "aa", 1, "x", "10.0.0.1", 8472, True)
    text = script(of(*WIRED, tunnel, up("a", "aa", 1450)))
    words = "ip -n a link add name aa type vxlan id 1 local 10.0.0.1 dev x dstport 8472 learning"
    assert text.index("dev x mtu") < text.index(words)


def test_here_documents_hold_any_text(tmp_path: Path) -> None:
    texts = {"/run/a": "EOF\n", "/run/b": "no newline", "/run/c d/e'f": "$HOME `x`\n", "/run/g": ""}
    made = of(*(File("a", path, text) for path, text in texts.items()))
    program = script(made)
    done = subprocess.run(
        ["sh"], input=program, env={"PATH": "/usr/bin:/bin", "FILES": str(tmp_path)}, text=True
    )
    assert done.returncode == 0
    assert {path: (tmp_path / "a" / path.lstrip("/")).read_text() for path in texts} == texts


def test_a_packet_filter_is_one_transaction() -> None:
    table = NftTable("a", "ip", "t", "table ip t {\n\tchain c {\n\t}\n}\n")
    assert f"\nip netns exec a nft -f - <<'EOF'\n{table.text}EOF\n" in script(of(*A, table))


def test_what_a_daemon_writes_is_a_comment() -> None:
    made = of(*A)
    made.add([Route("a", "10.9.0.0/16", "", "lo", proto="bird")], "bird", "expected")
    text = script(made)
    assert "route add" not in text
    assert "\n# expected, not written here: a route 10.9.0.0/16 dev lo proto bird" in text


def test_the_shell_finds_no_fault_in_it() -> None:
    done = subprocess.run(["sh", "-n"], input=script(plan(pods=2)), text=True)
    assert done.returncode == 0


def test_attachments_are_comments() -> None:
    plan = Plan()
    plan.add([Netns("n1"), Attachment("n1", "p", "eth0", "net", "{}", ("/b",), (), "{}", 30)], "x")
    (row,) = [row for row in script(plan).splitlines() if "attachment p eth0" in row]
    assert row.startswith("# n1 attachment p eth0 network net conflist ")
