"""What a kernel accepts, refuses and moves by itself: the same list for the real and the fake.

A scenario builds a state, does one step and names the errno of the refusal, or none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from emulator.errors import KernelRefused
from emulator.plan import Op
from emulator.plan.converge import Machine
from emulator.plan.ovs import OvsDatapath, OvsVport, OvsVxlan
from emulator.plan.resources import (
    BELOW_CUTTER,
    FLOOD,
    Addr,
    Bridge,
    Cutter,
    Dummy,
    Fdb,
    File,
    Fou,
    Geneve,
    Hop,
    Htb,
    Interface,
    Neigh,
    Netem,
    Netns,
    NftTable,
    Qdisc,
    Resource,
    Route,
    Rule,
    Sysctl,
    TcClass,
    TcFilter,
    Tun,
    Tunnel,
    Vxlan,
    multipath,
    veth,
)
from emulator.plan.text import line


class Scenario(NamedTuple):
    """``before`` is made, then ``step`` done; ``refusal`` is an errno's name, or empty."""

    name: str
    before: tuple[Resource, ...]
    step: tuple[Op, ...]
    refusal: str = ""


def play(machine: Machine, scenario: Scenario) -> tuple[str, list[str]]:
    """(errno of the refusal or empty, the state afterwards as text; none after a refusal).

    MAC addresses that the kernel drew are left out.
    """
    machine.apply([Op("create", r, None) for r in scenario.before])
    try:
        machine.apply(scenario.step)
    except KernelRefused as refused:
        (problem,) = refused.problems
        return str(problem.found).partition(" ")[0], []  # type: ignore[union-attr]
    known = [*scenario.before, *(op.resource for op in scenario.step)]
    chosen = {r.mac for r in known if type(r) is Interface}
    found = machine.observe(known).values()
    return "", sorted(
        line(r._replace(mac="") if type(r) is Interface and r.mac not in chosen else r)
        for r in found
    )


def make(*resources: Resource) -> tuple[Op, ...]:
    return tuple(Op("create", r, None) for r in resources)


def remove(*resources: Resource) -> tuple[Op, ...]:
    return tuple(Op("delete", r, r) for r in resources)


def change(before: Resource, after: Resource) -> Op:
    return Op("change", after, before)


def up(ns: str, name: str, mtu: int = 1500, mac: str = "", master: str = "") -> Interface:
    return Interface(ns, name, True, mtu, mac, master)


A, B = (Netns("a"), up("a", "lo", 65536)), (Netns("b"), up("b", "lo", 65536))
CABLE = veth("a", "x", "b", "y")
WIRED = (
    *A,
    *B,
    CABLE,
    up("a", "x", mac="02:00:00:00:00:0a"),
    up("b", "y", mac="02:00:00:00:00:0b"),
)
ADDR = Addr("a", "x", "10.0.0.1/24")
ON = (*WIRED, ADDR)
PORT = up("a", "x", mac="02:00:00:00:00:0a", master="br")
BRIDGED = (*A, *B, Bridge("a", "br"), CABLE, up("a", "br"), PORT, up("b", "y"))
VX = Vxlan("a", "vx", 1, "x", "10.0.0.1", 8472, False)
TUNNEL = (*WIRED, VX, up("a", "vx", 1450), ADDR)
TUN = Tun("a", "tun0")
ROUTE = Route("a", "10.1.0.0/16", "10.0.0.2", "x")
FORKED = (
    *WIRED,
    veth("a", "u", "b", "v"),
    up("a", "u", mac="02:00:00:00:00:1a"),
    up("b", "v", mac="02:00:00:00:00:1b"),
    Addr("a", "u", "10.0.1.1/31"),
    ADDR,
)
EAST, WEST_5, LOST = Hop("10.0.1.0", "u"), Hop("10.0.0.2", "x", 5), Hop("10.5.0.1", "x")
BOTH = multipath(Route("a", "10.1.0.0/16", "", ""), (EAST, Hop("10.0.0.2", "x")))
NEIGH = Neigh("a", "x", "10.0.0.9", "02:00:00:00:00:09")
FDB = Fdb("a", "vx", "02:00:00:00:00:09", "10.0.0.9")
RULE = Rule("a", 100, "from 10.0.0.0/24", 100)
TBF = Qdisc("a", "x", "tbf", 100_000_000, 68000, 380500)
HTB = Qdisc("a", "x", "htb", 100_000_000, 68000, 380500)
CUTTER = Cutter("a", "x", 1600)
CUT = TBF._replace(parent=BELOW_CUTTER)
CUT_HTB = HTB._replace(parent=BELOW_CUTTER)
ROOT = Htb("a", "x", 0x30)
SLOW = TcClass("a", "x", 1, 12_345_000, 1600)
FAST = TcClass("a", "x", 0x10, 40_000_000_000, 1605)
TO_POD = TcFilter("a", "x", 0x800, "dst", "10.1.2.3/32", 1)
FROM_POD = TcFilter("a", "x", 0x801, "src", "10.1.2.3/32", 0x10)
SHAPED = (*WIRED, ROOT, SLOW, FAST, TO_POD, FROM_POD)
TABLE = NftTable("a", "ip", "t", "table ip t {\n\tchain c {\n\t}\n}\n")
FILE = File("a", "/run/f", "text\n")
MASTERLESS = PORT._replace(master="")


def _many_ports() -> Iterator[Resource]:
    # all stay down: both ends of a cable in one bridge are a loop, and one frame in 511 of
    # them would storm until the machine stands still
    yield from (*A, Bridge("a", "br"), up("a", "br")._replace(up=False))
    for i in range(512):
        yield veth("a", f"p{i}", "a", f"q{i}")
        yield up("a", f"p{i}", master="br")._replace(up=False)
        if i < 511:
            yield up("a", f"q{i}", master="br")._replace(up=False)


def _scenarios() -> Iterable[Scenario]:
    s = Scenario
    yield s("a namespace twice", A, make(A[0]), "EEXIST")
    yield s("no such namespace to remove", A, remove(B[0]), "ENOENT")
    yield s("a namespace with all that is in it", (*A, Bridge("a", "br")), remove(A[0]))
    yield s("a device in no namespace", A, make(Bridge("b", "br")), "ENOENT")
    yield s("a cable into no namespace", A, make(CABLE), "ENOENT")
    yield s("a device twice", (*A, Bridge("a", "br")), make(Bridge("a", "br")), "EEXIST")
    yield s("a name of 15 characters", A, make(Bridge("a", "b" * 15)))
    yield s("a name of 16 characters", A, make(Bridge("a", "b" * 16)), "ERANGE")
    yield s("the far end's name is taken", WIRED, make(veth("a", "z", "b", "y")), "EEXIST")
    yield s("no such device to remove", A, remove(Bridge("a", "br")), "ENODEV")
    yield s("no such device to configure", A, make(up("a", "x")), "ENODEV")
    yield s("a cable goes with both ends", (*ON, ROUTE, NEIGH), remove(CABLE))
    yield s("what stands on a device goes", (*TUNNEL, FDB), remove(VX))
    yield s("a tunnel goes with its parent", (*TUNNEL, FDB), remove(CABLE))
    yield s("ports outlive their bridge", BRIDGED, remove(Bridge("a", "br")))

    yield s("no such master", WIRED, (change(MASTERLESS, PORT),), "EINVAL")
    vx_master = up("a", "x", master="vx")
    yield s("a master that is no bridge", TUNNEL, (change(WIRED[5], vx_master),), "ENOTSUP")
    last = up("a", "q511", master="br")._replace(up=False)
    fewer = tuple(_many_ports())
    yield s("1023 ports", fewer, ())
    yield s("a port too many", fewer, (change(last._replace(master=""), last),), "EXFULL")

    yield s(
        "MTU above what a cable takes", WIRED, (change(PORT, PORT._replace(mtu=65536)),), "EINVAL"
    )
    yield s("MTU below what a cable takes", WIRED, (change(PORT, PORT._replace(mtu=67)),), "EINVAL")
    tall = up("a", "vx", 8950)
    yield s("a tunnel is born no larger than its parent", WIRED, make(VX, tall))
    yield s(
        "a tunnel larger than its parent", TUNNEL, (change(up("a", "vx", 1450), tall),), "EINVAL"
    )
    lower = up("a", "br", 1400)
    yield s("a bridge keeps the MTU it was given", BRIDGED, (change(up("a", "br"), lower),))
    narrow = tuple(
        r._replace(mtu=1400) if type(r) is Interface and r.name != "lo" else r for r in BRIDGED
    )
    yield s(
        "a bridge takes the MTU of its ports", BRIDGED, (change(PORT, PORT._replace(mtu=1300)),)
    )
    yield s("a bridge without ports falls back", narrow, remove(CABLE))
    small = tuple(r._replace(mtu=576) if r in (PORT, up("a", "br")) else r for r in BRIDGED)
    yield s("interfaces too small for IPv6", (), make(*small))
    yield s("a port is set free", BRIDGED, (change(PORT, MASTERLESS),))
    yield s(
        "a bridge with a MAC address of its own",
        (*(r._replace(mac="02:00:00:00:00:ff") if r == up("a", "br") else r for r in BRIDGED),),
        (),
    )
    hairpin = PORT._replace(hairpin=True)
    yield s(
        "hairpin on another bridge",
        (*(hairpin if r == PORT else r for r in BRIDGED), Bridge("a", "bs"), up("a", "bs")),
        (change(hairpin, hairpin._replace(master="bs")),),
    )
    yield s("promiscuous", BRIDGED, (change(up("a", "br"), up("a", "br")._replace(promisc=True)),))
    heard = up("a", "x", mac="02:00:00:00:00:0a")._replace(promisc=True)
    yield s(
        "promiscuous and down, then no more",
        (*(heard if r == WIRED[5] else r for r in WIRED),),
        (change(heard, heard._replace(promisc=False, up=False)),),
    )
    yield s("hairpin", BRIDGED, (change(PORT, PORT._replace(hairpin=True)),))

    bare = WIRED[5]._replace(tx=False)  # type: ignore[call-arg]
    yield s("checksums by software", WIRED, (change(WIRED[5], bare),))
    yield s(
        "checksums by software from birth",
        (*A, Bridge("a", "br")),
        make(up("a", "br")._replace(tx=False)),
    )

    yield s("no such parent", A, make(VX), "ENODEV")
    yield s("the same VNI and port twice", TUNNEL, make(VX._replace(name="vy")), "EEXIST")
    yield s("the same VNI on another port", TUNNEL, make(VX._replace(name="vy", port=4789)))

    proxied = (*A, TUN, up("a", "tun0", 1472))
    yield s("a TUN device", A, make(*proxied[2:]))
    yield s("a TUN device of an MTU it is not born with", A, make(TUN, up("a", "tun0", 9000)))
    yield s("a TUN device twice", proxied, make(TUN), "EEXIST")
    yield s("a TUN device of the name of a bridge", BRIDGED, make(Tun("a", "br")), "EEXIST")
    yield s("a TUN device of 16 characters", A, make(Tun("a", "t" * 16)), "ERANGE")
    over = Route("a", "10.1.0.0/16", "", "tun0")
    yield s("a TUN device goes", (*proxied, Addr("a", "tun0", "10.1.1.0/32"), over), remove(TUN))
    plain = proxied[3]._replace(tso=False, gso=False, gro=False)
    yield s("a TUN device without offloads", proxied, (change(proxied[3], plain),))

    yield s("an address twice", ON, make(ADDR), "EEXIST")
    yield s("an address on no device", A, make(ADDR), "ENODEV")
    yield s("no such address to remove", WIRED, remove(ADDR), "EADDRNOTAVAIL")
    full = (*ON, Addr("a", "x", "10.9.0.1/24"), ROUTE, NEIGH)
    yield s("the last address takes routes with it", (*ON, ROUTE, NEIGH), remove(ADDR))
    yield s("another address keeps them", full, remove(ADDR))

    yield s("a gateway in no network", ON, make(ROUTE._replace(via="10.5.0.1")), "ENETUNREACH")
    yield s("the same, onlink", ON, make(ROUTE._replace(via="10.5.0.1", onlink=True)))
    yield s("a gateway of its own", ON, make(ROUTE._replace(via="10.0.0.1")))
    yield s(
        "a gateway behind a link route",
        ON,
        make(
            Route("a", "169.254.1.1/32", "", "x", scope="link"), ROUTE._replace(via="169.254.1.1")
        ),
    )
    yield s("a gateway behind no device", ON, make(ROUTE._replace(dev="z")), "ENETUNREACH")
    yield s("a route on no device", ON, make(ROUTE._replace(via="", dev="z")), "ENODEV")
    yield s("a route twice", (*ON, ROUTE), make(ROUTE), "EEXIST")
    other = ROUTE._replace(via="10.0.0.3")
    yield s("a second gateway", (*ON, ROUTE), make(other), "EEXIST")
    yield s("a route replaced", (*ON, ROUTE), (change(ROUTE, other),))
    yield s("a route by metric", (*ON, ROUTE), make(other._replace(metric=10)))
    yield s("a connected network", ON, make(ROUTE._replace(dst="10.0.0.0/24")), "EEXIST")
    yield s("a blackhole", ON, make(Route("a", "10.1.0.0/16", "", "", type="blackhole")))
    yield s("no such route to remove", ON, remove(ROUTE), "ESRCH")

    yield s("two next hops", FORKED, make(BOTH))
    yield s("two next hops of unlike weight", FORKED, make(multipath(BOTH, (EAST, WEST_5))))
    yield s(
        "two next hops, one in no network",
        FORKED,
        make(multipath(BOTH, (EAST, LOST))),
        "ENETUNREACH",
    )
    nowhere = multipath(BOTH, (EAST, Hop("10.0.1.2", "q")))
    yield s("two next hops, one by no device", FORKED, make(nowhere), "ENETUNREACH")
    yield s("two next hops twice", (*FORKED, BOTH), make(BOTH), "EEXIST")
    one = multipath(BOTH, (EAST,))
    yield s("one next hop more", (*FORKED, one), (change(one, BOTH),))
    yield s("one next hop less", (*FORKED, BOTH), (change(BOTH, one),))
    yield s("a route of two next hops is removed", (*FORKED, BOTH), remove(BOTH))
    east, west = FORKED[-4], WIRED[-2]
    cut = tuple(change(e, e._replace(up=False)) for e in (east, west))
    yield s("one next hop is down", (*FORKED, BOTH), cut[:1])
    yield s("the other next hop is down", (*FORKED, BOTH), cut[1:])
    yield s("both next hops are down", (*FORKED, BOTH), cut)
    yield s("a next hop is up again", (*FORKED, BOTH), (*cut[:1], change(cut[0].resource, east)))
    yield s("two next hops, one of them down", (*FORKED, BOTH), (*cut[:1], *remove(BOTH)))
    fallen = (*(r if r != east else cut[0].resource for r in FORKED),)
    yield s("two next hops by a down interface", fallen, make(BOTH), "ENETUNREACH")
    yield s("one of two next hops loses its address", (*FORKED, BOTH), remove(FORKED[-2]))
    six = (*FORKED, Addr("a", "u", "fd00:1::1/64"), Addr("a", "x", "fd00:2::1/64"))
    both6 = multipath(
        Route("a", "fd00:9::/48", "", ""), (Hop("fd00:1::2", "u"), Hop("fd00:2::2", "x", 3))
    )
    yield s("two next hops of IPv6", six, make(both6))
    yield s("two next hops of IPv6 twice", (*six, both6), make(both6), "EEXIST")
    lost6 = multipath(both6, (Hop("fd00:5::2", "u"), Hop("fd00:2::2", "x")))
    yield s("two next hops of IPv6, one in no network", six, make(lost6), "EHOSTUNREACH")
    yield s("a route of two next hops of IPv6 is removed", (*six, both6), remove(both6))
    one6 = multipath(both6, both6.hops[:1])
    yield s("one next hop of IPv6 less", (*six, both6), (change(both6, one6),))
    yield s("one next hop of IPv6 more", (*six, one6), (change(one6, both6),))
    yield s("one next hop of IPv6 is down", (*six, both6), cut[:1])
    yield s("both next hops of IPv6 are down", (*six, both6), cut)
    yield s("one of two next hops of IPv6 loses its device", (*six, both6), remove(FORKED[-5]))
    yield s("one of two next hops loses its device", (*FORKED, BOTH), remove(FORKED[-5]))

    down = up("a", "x", mac="02:00:00:00:00:0a")._replace(up=False)
    fell = (*(r if r != WIRED[5] else down for r in WIRED), ADDR)
    link = Route("a", "10.2.0.0/16", "", "x", scope="link")
    yield s("a route on a down interface", fell, make(link), "ENETDOWN")
    yield s("onlink on a down interface", fell, make(ROUTE._replace(onlink=True)), "ENETDOWN")
    yield s("a gateway behind a down interface", fell, make(ROUTE), "ENETUNREACH")
    yield s("down takes routes with it", (*ON, ROUTE, NEIGH), (change(WIRED[5], down),))
    yield s(
        "a tunnel that is down keeps its table",
        (*TUNNEL, FDB),
        (change(up("a", "vx", 1450), up("a", "vx", 1450)._replace(up=False)),),
    )
    moved = WIRED[5]._replace(mac="02:00:00:00:00:0c")  # type: ignore[call-arg]
    yield s(
        "another MAC address forgets neighbours", (*ON, ROUTE, NEIGH), (change(WIRED[5], moved),)
    )

    yield s("a neighbour twice", (*ON, NEIGH), make(NEIGH), "EEXIST")
    yield s("a neighbour on no device", A, make(NEIGH), "ENODEV")
    yield s("no such neighbour to remove", ON, remove(NEIGH), "ENOENT")
    yield s("a forwarding entry twice", (*TUNNEL, FDB), make(FDB), "EEXIST")
    flood = FDB._replace(lladdr=FLOOD), FDB._replace(lladdr=FLOOD, dst="10.0.0.8")
    yield s("what nobody has learnt goes to several", TUNNEL, (*make(flood[0]), *make(flood[1])))
    yield s("one of several destinations removed", (*TUNNEL, *flood), remove(flood[0]))
    yield s("a forwarding entry on a cable", TUNNEL, make(FDB._replace(dev="x")))
    yield s("no such forwarding entry to remove", TUNNEL, remove(FDB), "ENOENT")
    inverted = Rule("a", 99, "not from all fwmark 0x200000/0x200000", 1)
    yield s(
        "a rule for all but a mark", A, make(inverted, inverted._replace(family="ip6", table=2))
    )
    yield s("a rule for all but a mark is removed", (*A, inverted), remove(inverted))
    throw = Route("a", "10.1.0.0/26", "", "", table=1, type="throw")
    throw6 = throw._replace(dst="fd00:1::/122", table=2)
    yield s("back to the next table", A, make(throw, throw6))
    yield s("back to the next table no more", (*A, throw, throw6), remove(throw, throw6))
    beside = Route("a", "10.1.0.0/26", "", "x", scope="link", table=1)
    yield s("the same destination in two tables", (*ON, ROUTE), make(beside))
    yield s("a rule twice", (*A, RULE), make(RULE), "EEXIST")
    yield s("no such rule to remove", A, remove(RULE), "ENOENT")

    yield s("tbf", WIRED, make(TBF))
    yield s("htb", WIRED, make(HTB))
    yield s("a shaper on no device", A, make(TBF), "ENODEV")
    yield s(
        "another rate by tbf", (*WIRED, TBF), (*remove(TBF), *make(TBF._replace(rate_bit=10**9)))
    )
    yield s(
        "another rate by htb", (*WIRED, HTB), (*remove(HTB), *make(HTB._replace(rate_bit=10**9)))
    )
    yield s("htb in place of tbf", (*WIRED, TBF), (*remove(TBF), *make(HTB)))
    yield s("no such shaper to remove", WIRED, remove(TBF), "EINVAL")
    yield s("a cutter", WIRED, make(CUTTER))
    yield s("a cutter of longer frames, in place", (*WIRED, CUTTER, CUT),
            (change(CUTTER, CUTTER._replace(frame_b=9200)),))  # fmt: skip
    yield s("a cutter above a tbf", WIRED, make(CUTTER, CUT))
    yield s("a cutter above an htb", WIRED, make(CUTTER, CUT_HTB))
    yield s("a cutter takes what is below along", (*WIRED, CUTTER, CUT_HTB), remove(CUTTER))
    yield s("a cutter, and the tbf below another one", (*WIRED, CUTTER, CUT),
            (*remove(CUT), *make(CUT._replace(rate_bit=10**9))))  # fmt: skip
    yield s("a cutter that is not there", WIRED, make(CUT), "ENOENT")
    yield s("no such cutter to remove", WIRED, remove(CUTTER), "EINVAL")

    yield s("classes and filters", WIRED, make(*SHAPED[len(WIRED) :]))
    yield s("classes and filters go with their root", SHAPED, remove(ROOT))
    yield s("a filter and its class go", SHAPED, (*remove(FROM_POD), *remove(FAST)))
    yield s("a class that a filter names stays", SHAPED, remove(FAST), "EBUSY")
    slower = SLOW._replace(rate_bit=1_000_000)
    yield s("a class that a filter names changes its rate", SHAPED, (change(SLOW, slower),))
    yield s("a filter twice", SHAPED, make(TO_POD), "EEXIST")
    yield s("a class below no root", WIRED, make(SLOW), "ENOENT")
    yield s("a filter below no root", WIRED, make(TO_POD), "EINVAL")
    yield s("no such class to remove", (*WIRED, ROOT), remove(SLOW), "ENOENT")
    yield s("no such filter to remove", SHAPED, remove(TO_POD._replace(node=0x900)), "ENOENT")
    yield s("a filter of a root without any", (*WIRED, ROOT), remove(TO_POD), "ENOENT")
    yield s("tbf in place of classes", SHAPED, (*remove(ROOT), *make(TBF)))

    yield s("a table twice", (*A, TABLE), make(TABLE))
    yield s("no such table to remove", A, remove(TABLE), "EINVAL")
    yield s("a file, and its removal", (*A, FILE), remove(FILE))
    yield s("a setting", WIRED, make(Sysctl("a", "net/ipv4/conf/x/arp_notify", "1")))
    yield s("a setting of IPv6", WIRED, make(Sysctl("a", "net/ipv6/conf/x/accept_dad", "0", True)))
    counting = Sysctl("a", "net/ipv4/conf/x/arp_notify", "1")
    yield s("a setting is given back", (*WIRED, counting), remove(counting))
    yield s(
        "a setting of no device", A, make(Sysctl("a", "net/ipv4/conf/x/arp_notify", "1")), "ENODEV"
    )
    yield s(
        "an optional setting of no device",
        A,
        make(Sysctl("a", "net/ipv6/conf/x/accept_ra", "0", True)),
    )
    yield s(
        "a setting that no kernel has", A, make(Sysctl("a", "net/ipv6/conf/x/none", "1")), "ENOENT"
    )


ADDR6 = Addr("a", "x", "fd00::1/64")
ON6 = (*WIRED, ADDR6)
VX6 = Vxlan("a", "vx", 1, "x", "fd00::1", 8472, False)
TUNNEL6 = (*WIRED, VX6, up("a", "vx", 1430), ADDR6)
ROUTE6 = Route("a", "fd01::/64", "fd00::2", "x")
DEFAULT6 = Route("a", "::/0", "fd00::2", "x")
NEIGH6 = Neigh("a", "x", "fd00::9", "02:00:00:00:00:09")
FDB6 = Fdb("a", "vx", "02:00:00:00:00:09", "fd00::9")
RULE6 = Rule("a", 100, "from fd00::/64", 100, "ip6")
TABLE6 = NftTable("a", "ip6", "t", "table ip6 t {\n\tchain c {\n\t}\n}\n")
LINK_LOCAL = Addr("a", "x", "fe80::ff:fe00:a/64", "link")


def _scenarios_of_ipv6() -> Iterable[Scenario]:
    s = Scenario
    both = (*ON6, ADDR, ROUTE, ROUTE6, NEIGH, NEIGH6)
    default = Route("a", "default", "10.0.0.2", "x")
    yield s("6: an address twice", ON6, make(ADDR6), "EEXIST")
    yield s("6: a link-local address", ON6, make(LINK_LOCAL))
    yield s("6: no such address to remove", WIRED, remove(ADDR6), "EADDRNOTAVAIL")
    yield s("6: the last address leaves routes where they are", both, remove(ADDR6))
    yield s("6: the last address of IPv4 takes its own routes", both, remove(ADDR))
    yield s("6: default routes of both families", both, make(default, DEFAULT6))
    yield s("6: rules of both families", both, make(RULE._replace(selector="from all"),
            RULE6._replace(selector="from all")))  # fmt: skip
    yield s("6: tables of both families", both, make(TABLE, TABLE6))

    yield s("6: a gateway in no network", ON6, make(ROUTE6._replace(via="fd05::1")), "EHOSTUNREACH")
    yield s("6: the same, onlink", ON6, make(ROUTE6._replace(via="fd05::1", onlink=True)))
    yield s("6: a gateway of its own", ON6, make(ROUTE6._replace(via="fd00::1")), "EINVAL")
    yield s("6: a link-local gateway", WIRED, make(DEFAULT6._replace(via="fe80::1")))
    link = Route("a", "fd02::5/128", "", "x")
    yield s("6: a gateway behind a link route", ON6, make(link, ROUTE6._replace(via="fd02::5")))
    yield s("6: a gateway behind no device", ON6, make(ROUTE6._replace(dev="z")), "ENODEV")
    yield s("6: a route twice", (*ON6, ROUTE6), make(ROUTE6), "EEXIST")
    other = ROUTE6._replace(via="fd00::3")
    yield s("6: a route replaced", (*ON6, ROUTE6), (change(ROUTE6, other),))
    yield s("6: a route by metric", (*ON6, ROUTE6), make(other._replace(metric=10)))
    yield s("6: a route removed", (*ON6, ROUTE6, DEFAULT6), remove(ROUTE6))
    yield s("6: beside a connected network", ON6, make(ROUTE6._replace(dst="fd00::/64")))
    yield s("6: a source", ON6, make(ROUTE6._replace(src="fd00::1")))
    yield s("6: a source that it has not", ON6, make(ROUTE6._replace(src="fd00::7")), "EINVAL")
    yield s("6: another table", ON6, make(ROUTE6._replace(table=77, proto="17")))
    yield s("6: a blackhole", ON6, make(Route("a", "fd03::/64", "", "", type="blackhole")))
    yield s("6: no such route to remove", ON6, remove(ROUTE6), "ESRCH")

    down = WIRED[5]._replace(up=False)  # type: ignore[call-arg]
    keep = Sysctl("a", "net/ipv6/conf/x/keep_addr_on_down", "1")
    yield s("6: down takes addresses with it", (*both, LINK_LOCAL), (change(WIRED[5], down),))
    kept = (*both, LINK_LOCAL, keep)
    yield s("6: down leaves what a setting keeps", kept, (change(WIRED[5], down),))
    fell = (*(r if r != WIRED[5] else down for r in WIRED),)
    yield s("6: an address on a down interface", fell, make(ADDR6))
    yield s("6: a route on a down interface", fell, make(link), "ENETDOWN")
    yield s("6: a gateway behind a down interface", (*fell, ADDR6), make(ROUTE6), "EHOSTUNREACH")
    small = WIRED[5]._replace(mtu=1279)  # type: ignore[call-arg]
    yield s("6: too small an MTU takes it off", (*both, keep), (change(WIRED[5], small),))
    tiny = (*(r if r != WIRED[5] else small for r in WIRED),)
    yield s("6: no address where the MTU is too small", tiny, make(ADDR6), "EINVAL")
    moved = WIRED[5]._replace(mac="02:00:00:00:00:0c")  # type: ignore[call-arg]
    yield s("6: another MAC address forgets neighbours", both, (change(WIRED[5], moved),))
    yield s("6: a cable goes with both ends", both, remove(CABLE))

    tall = up("a", "vx", 1450)
    yield s("6: a tunnel is born with room for the longer header", (*ON6,), make(VX6, tall))
    yield s("6: a tunnel too large", TUNNEL6, (change(up("a", "vx", 1430), tall),), "EINVAL")
    four = VX._replace(name="v4")
    yield s("6: a tunnel of each family", (*TUNNEL6, ADDR), make(four, up("a", "v4", 1450)))
    yield s("6: the same tunnel twice", TUNNEL6, make(VX6._replace(name="vy")), "EEXIST")
    yield s("6: a forwarding entry", TUNNEL6, make(FDB6))
    yield s("6: a forwarding entry of the other family", TUNNEL6, make(FDB), "EAFNOSUPPORT")
    yield s("6: a neighbour twice", (*ON6, NEIGH6), make(NEIGH6), "EEXIST")
    yield s("6: a neighbour removed", (*ON6, NEIGH, NEIGH6), remove(NEIGH6))
    yield s("6: a rule removed", (*A, RULE, RULE6), remove(RULE6))


IPIP = Tunnel("a", "ip", "ipip", local="10.0.0.1")
OVER_IP = (*ON, IPIP, up("a", "ip", 1480))
TUNL0 = Tunnel("a", "tunl0", "ipip", pmtudisc=False, any_mode=True)
TAKEN = (*ON, TUNL0, up("a", "tunl0", 1480), Addr("a", "tunl0", "10.9.0.1/32"))
GENEVE = Geneve("a", "gv", 1, "10.0.0.2", 6081)
GUE = Fou("a", 5555, "gue")


def _scenarios_of_tunnels() -> Iterable[Scenario]:
    s = Scenario
    onlink = Route("a", "10.1.0.0/16", "10.0.0.2", "ip", onlink=True)
    yield s("ipip", ON, make(IPIP, up("a", "ip", 1480)))
    yield s("ipip of a smaller MTU", ON, make(IPIP, up("a", "ip", 1300)))
    tuned = IPIP._replace(remote="10.0.0.2", ttl=7, parent="x", tos=1)
    yield s("ipip with all that can be set", ON, make(tuned, up("a", "ip", 1480)))
    blind = IPIP._replace(remote="10.0.0.2", tos=0x10, pmtudisc=False)
    yield s("ipip without path MTU discovery", ON, make(blind, up("a", "ip", 1480)))
    some = IPIP._replace(any_mode=True)
    yield s("ipip that takes anything", ON, make(some, up("a", "ip", 1480)))
    yield s("a second one between two ends", OVER_IP, make(IPIP._replace(name="i2")), "EEXIST")
    further = IPIP._replace(name="i2", remote="10.0.0.2")
    yield s("one to a single other end beside it", OVER_IP, make(further, up("a", "i2", 1480)))
    yield s("ipip from anywhere to anywhere", ON, make(IPIP._replace(local="")), "EEXIST")
    yield s("a route through ipip", OVER_IP, make(onlink))
    yield s("ipip goes", (*OVER_IP, onlink, Addr("a", "ip", "10.9.0.1/32")), remove(IPIP))
    yield s("ipip outlives its parent", (*ON, tuned._replace(parent=""), up("a", "ip", 1480)),
            remove(CABLE))  # fmt: skip
    large, larger = up("a", "ip", 65515), up("a", "ip", 65516)
    yield s("the largest ipip", OVER_IP, (change(up("a", "ip", 1480), large),))
    yield s("ipip too large", OVER_IP, (change(up("a", "ip", 1480), larger),), "EINVAL")

    yield s("the kernel's own ipip is no state", OVER_IP, ())
    yield s("the kernel's own ipip is taken", ON, make(*TAKEN[len(ON) :]))
    fifth = up("a", "tunl0", 1450)
    yield s("the kernel's own ipip of another MTU", ON, make(TUNL0, fifth))
    yield s("the kernel's own ipip is given back", TAKEN, remove(TUNL0))
    again = (*remove(TUNL0), *make(*TAKEN[len(ON) :]))
    yield s("the kernel's own ipip is taken again", TAKEN, again)
    low = up("a", "tunl0", 1480)._replace(up=False)
    yield s("the kernel's own ipip is down", TAKEN, (change(up("a", "tunl0", 1480), low),))
    yield s("an ipip beside the kernel's own", TAKEN, make(IPIP, up("a", "ip", 1480)))
    yield s("a namespace after the kernel's own", (*A, TUNL0, up("a", "tunl0", 1480)), make(*B))

    sit = Tunnel("a", "st", "sit", local="10.0.0.1", remote="10.0.0.2", ttl=64)
    yield s("sit", ON, make(sit, up("a", "st", 1480)))
    six = Tunnel("a", "s6", "ip6tnl", "fd00::1", "fd00::2", ttl=64)
    yield s("ip6tnl", ON6, make(six, up("a", "s6", 1460)))
    yield s("ip6tnl with its option", ON6, make(six._replace(encaplimit=4), up("a", "s6", 1452)))
    some = six._replace(any_mode=True)
    yield s("ip6tnl that takes anything", ON6, make(some, up("a", "s6", 1460)))
    yield s("ip6tnl twice", (*ON6, six, up("a", "s6", 1460)), make(six._replace(name="s7")),
            "EEXIST")  # fmt: skip

    gue = Tunnel("a", "ip", "ipip", "10.0.0.1", "10.0.0.2", ttl=225, encap="gue", dport=5555)
    yield s("a port of GUE", A, make(GUE))
    yield s("a port of foo-over-UDP", A, make(Fou("a", 5556, "fou", protocol=4)))
    yield s("a port of each family", A, make(GUE, GUE._replace(family="ip6")))
    yield s("a port twice", (*A, GUE), make(GUE), "EADDRINUSE")
    yield s("a port goes", (*A, GUE), remove(GUE))
    yield s("no such port to remove", A, remove(GUE), "EINVAL")
    yield s("ipip in GUE", (*ON, GUE), make(gue, up("a", "ip", 1468)))
    checked = gue._replace(csum=True, sport=4444)
    yield s("ipip in GUE with checksums", (*ON, GUE), make(checked, up("a", "ip", 1468)))
    yield s("GUE goes on without its port", (*ON, GUE, gue, up("a", "ip", 1468)), remove(GUE))
    six = six._replace(encap="gue", dport=5555, csum=True, encaplimit=4)
    port6 = GUE._replace(family="ip6")
    yield s("ip6tnl in GUE", (*ON6, port6), make(six, up("a", "s6", 1440)))

    yield s("geneve", ON, make(GENEVE, up("a", "gv", 1450)))
    wired = (*ON, GENEVE, up("a", "gv", 1450))
    yield s("geneve twice", wired, make(GENEVE._replace(name="g2")), "EBUSY")
    second = GENEVE._replace(name="g2", remote="10.0.0.3")
    yield s("geneve to another", wired, make(second, up("a", "g2", 1450)))
    other = GENEVE._replace(name="g2", port=7777)
    yield s("geneve by another port", wired, make(other, up("a", "g2", 1450)))
    yield s("geneve over IPv6", ON6, make(GENEVE._replace(remote="fd00::2"), up("a", "gv", 1430)))
    drawn = up("a", "gv", 1450, mac="02:00:00:00:00:99")
    yield s("geneve with a MAC address", ON, make(GENEVE, drawn))
    yield s("geneve as large as its parent", ON, make(GENEVE, up("a", "gv", 1500)))
    yield s(
        "geneve too large", wired, (change(up("a", "gv", 1450), up("a", "gv", 65491)),), "EINVAL"
    )
    yield s("geneve goes", wired, remove(GENEVE))

    dummy = Dummy("a", "dm")
    lone = Addr("a", "dm", "10.9.0.1/32")
    yield s("a dummy", A, make(dummy, up("a", "dm"), lone))
    yield s("a dummy goes", (*A, dummy, up("a", "dm"), lone), remove(dummy))
    port = up("a", "dm", master="br")
    yield s("a dummy as a port", (*A, Bridge("a", "br"), up("a", "br")), make(dummy, port))


def _scenarios_of_datapaths() -> Iterator[Scenario]:
    s = Scenario
    dp, tunnel = OvsDatapath("a", "dp"), OvsVxlan("a", "vx", "dp", 6784)
    born, tunnel_born = up("a", "dp"), up("a", "vx", 65535)
    cable = veth("a", "x", "a", "y")
    port = OvsVport("a", "x", "dp")
    yield s("a datapath", A, make(dp, up("a", "dp", 1376, mac="02:00:00:00:00:0d")))
    ports = (*A, dp, born, cable, up("a", "x"), up("a", "y"), tunnel, tunnel_born, port)
    yield s("a datapath with ports", A, make(*ports[len(A) :]))
    small = up("a", "vx", 1400, mac="02:00:00:00:00:0e")
    yield s("a tunnel of another MTU", (*A, dp, born), make(tunnel, small))
    down = tunnel_born._replace(up=False)
    yield s("a tunnel that is down", ports, (change(tunnel_born, down),))
    yield s("a datapath twice", (*A, dp, born), make(dp), "EEXIST")
    yield s("a tunnel twice", ports, make(tunnel._replace(name="vy")), "EEXIST")
    yield s("a tunnel by another port", ports, make(tunnel._replace(name="vy", port=4789),
            up("a", "vy", 65535)))  # fmt: skip
    yield s("a port twice", ports, make(port), "EEXIST")
    yield s("a port of no datapath", ports, make(OvsVport("a", "y", "dq")), "ENODEV")
    yield s("a port of a bridge and a datapath", (*A, dp, born, Bridge("a", "br"), up("a", "br"),
            cable, up("a", "x", master="br"), up("a", "y")), make(port), "EBUSY")  # fmt: skip
    yield s("a datapath takes its ports along", ports, remove(dp))
    yield s("a port goes and stays an interface", ports, remove(port))
    yield s("a cable takes its port along", ports, remove(cable))
    yield s("a tunnel goes", ports, remove(tunnel))
    yield s("no such port to remove", (*A, dp, born), remove(port), "ENODEV")
    yield s("no such datapath to remove", A, remove(dp), "ENODEV")


DATAPATHS = {scenario.name: scenario for scenario in _scenarios_of_datapaths()}
"""Of Open vSwitch."""

TUNNELS = {scenario.name: scenario for scenario in _scenarios_of_tunnels()}
"""Of devices that not every kernel has."""

SCENARIOS = {scenario.name: scenario for scenario in (*_scenarios(), *_scenarios_of_ipv6())}


LATE = Netem("a", "x", 4000, delay_us=10_000, loss_ppb=1_000_000)
BURSTS = Netem("a", "x", 4000, 20_000, 2_000, "normal", gilbert_ppb=(750_000, 749_250_000))
EVERYTHING = Netem("a", "x", 9000, 12_345, 1_001, "pareto", 333, (0, 0), 10**9, 7, 5, 1)
SLOWED = TBF._replace(parent="10:1")
SLOWED_HTB = HTB._replace(parent="11:1")


def _scenarios_of_netem() -> Iterable[Scenario]:
    s = Scenario
    for name, r in (("late", LATE), ("bursts", BURSTS), ("everything", EVERYTHING)):
        yield s(f"netem: {name}", WIRED, make(r))
    yield s("netem: less of everything in place", (*WIRED, EVERYTHING), (
        change(EVERYTHING, EVERYTHING._replace(delay_us=0, jitter_us=0, loss_ppb=0, gap=0,
               duplicate_ppb=0, reorder_ppb=0, corrupt_ppb=0)),))  # fmt: skip
    yield s("netem: bursts no more", (*WIRED, BURSTS),
            (change(BURSTS, BURSTS._replace(gilbert_ppb=(0, 0), loss_ppb=5)),))  # fmt: skip
    yield s("netem: longer, with a shaper below", (*WIRED, LATE, SLOWED),
            (change(LATE, LATE._replace(delay_us=20_000)),))  # fmt: skip
    yield s("netem: a tbf below", WIRED, make(LATE, SLOWED))
    yield s("netem: an htb below", WIRED, make(BURSTS, SLOWED_HTB))
    cut = LATE._replace(parent=BELOW_CUTTER)
    yield s("netem: below a cutter, with a tbf", WIRED, make(CUTTER, cut, SLOWED))
    yield s("netem: goes with the cutter above", (*WIRED, CUTTER, cut, SLOWED), remove(CUTTER))
    yield s("netem: less of it below a cutter", (*WIRED, CUTTER, cut),
            (change(cut, cut._replace(delay_us=0)),))  # fmt: skip
    yield s("netem: out of the row", (*WIRED, CUTTER, cut, SLOWED), (*remove(SLOWED), *remove(cut),
            *make(CUT)))  # fmt: skip
    yield s("netem: takes what is below along", (*WIRED, BURSTS, SLOWED_HTB), remove(BURSTS))
    yield s("netem: without what was below", (*WIRED, LATE, SLOWED), remove(SLOWED))
    yield s("netem: nothing to remove", WIRED, remove(LATE), "EINVAL")
    yield s("netem: goes with its device", (*WIRED, LATE, SLOWED), remove(CABLE))


FULL_SCENARIOS = {scenario.name: scenario for scenario in _scenarios_of_netem()}
"""Of kinds that not every kernel has."""
