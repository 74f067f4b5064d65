"""The kinds of kernel state that a plan is made of.

Each kind is a small frozen value with an identity (``key``) and attributes.
One normal form per kind: addresses in canonical text (of IPv4 or of IPv6, which the
text tells), MAC addresses in lower case, an absent attribute is the empty string or zero.
Both the compiler and the observer make values in that form, so comparing is plain equality.

Values are NamedTuples and not dataclasses: a plan of 100 nodes with 100 pods has
more than 100,000 of them, and a NamedTuple is made four times as fast.

(Over 300 lines: a list of kinds, each with its key.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from emulator.plan.ovs import OvsDatapath, OvsDevice, OvsVport, OvsVxlan
from emulator.plan.xfrm import XfrmPolicy, XfrmSa, XfrmState

Key = tuple[str, str, str]
"""(namespace, kind, identity within the namespace)."""

Distribution = Literal["uniform", "normal", "pareto"]

Owner = Literal["applied", "expected", "derived"]


class Netns(NamedTuple):
    """A network namespace, held open by the lab under ``/run/netns/<ns>``."""

    ns: str

    @property
    def kind(self) -> str:
        return "netns"

    @property
    def key(self) -> Key:
        return (self.ns, "netns", "")


class Bridge(NamedTuple):
    """A bridge device without STP (existence only)."""

    ns: str
    name: str

    @property
    def kind(self) -> str:
        return "bridge"

    @property
    def key(self) -> Key:
        return (self.ns, "device", self.name)


class Veth(NamedTuple):
    """A veth pair (existence only). The end with the smaller (namespace, name) is first."""

    ns: str
    name: str
    peer_ns: str
    peer: str

    @property
    def kind(self) -> str:
        return "veth"

    @property
    def key(self) -> Key:
        return (self.ns, "device", self.name)

    @property
    def peer_key(self) -> Key:
        """The identity that the other end claims."""
        return (self.peer_ns, "device", self.peer)


def veth(ns: str, name: str, peer_ns: str, peer: str) -> Veth:
    """A pair in normal form, whichever end is named first."""
    if (ns, name) <= (peer_ns, peer):
        return Veth(ns, name, peer_ns, peer)
    return Veth(peer_ns, peer, ns, name)


class Vxlan(NamedTuple):
    """A VXLAN device (existence and what only creation can set). ``port`` is UDP, and the
    family of ``local`` is that of the outer packets."""

    ns: str
    name: str
    vni: int
    parent: str
    local: str
    port: int
    learning: bool

    @property
    def kind(self) -> str:
        return "vxlan"

    @property
    def key(self) -> Key:
        return (self.ns, "device", self.name)


class Tun(NamedTuple):
    """A TUN device, there without the process that reads and writes its IPv4 packets.

    It has no MAC address and no offloads of its own: whoever opens it gets packets that the
    kernel has segmented and checksummed.
    """

    ns: str
    name: str

    @property
    def kind(self) -> str:
        return "tun"

    @property
    def key(self) -> Key:
        return (self.ns, "device", self.name)


class Tunnel(NamedTuple):
    """A tunnel of IP packets in IP packets, with what only creation can set.

    ``device`` is the kernel's kind: ``ipip`` (IPv4 in IPv4), ``sit`` (IPv6 in IPv4) or ``ip6tnl``
    (IPv6 in IPv6). ``local``, ``remote`` and ``parent`` may be empty, which is any. ``ttl`` of
    the outer header: zero inherits that of the inner one; ``tos`` (not of ``ip6tnl``): one does so,
    any other is what all packets have. With a ``ttl`` of its own a tunnel does ``pmtudisc`` always.
    ``encap``: in UDP, from ``sport`` (zero:
    one drawn for each flow) to ``dport``, with checksums of UDP or without. ``encaplimit`` is of
    ``ip6tnl`` alone: the option of that name, 8 bytes in each packet; -1 leaves it out.
    ``any_mode``: it takes whatever is inside, where otherwise that is what its kind says.

    One from any to any is unique in a namespace and has the name that :data:`BORN` says: the
    kernel makes it by itself, unless net.core.fb_tunnels_only_for_init_net keeps it away, and
    does not let go of it.
    """

    ns: str
    name: str
    device: Literal["ipip", "sit", "ip6tnl"]
    local: str = ""
    remote: str = ""
    ttl: int = 0
    parent: str = ""
    tos: int = 0
    pmtudisc: bool = True
    encap: Literal["none", "fou", "gue"] = "none"
    sport: int = 0
    dport: int = 0
    csum: bool = False
    encaplimit: int = -1
    any_mode: bool = False

    @property
    def kind(self) -> str:
        return "tunnel"

    @property
    def key(self) -> Key:
        return (self.ns, "device", self.name)

    @property
    def fallback(self) -> bool:
        """Whether it is the one that takes what no other tunnel of its kind does."""
        return BORN.get(self.name) == self.device


BORN = {
    "tunl0": "ipip",
    "sit0": "sit",
    "ip6tnl0": "ip6tnl",
    "gre0": "gre",
    "gretap0": "gretap",
    "erspan0": "erspan",
    "ip6gre0": "ip6gre",
    "ip_vti0": "vti",
    "ip6_vti0": "vti6",
}
"""Devices that are in every namespace once the module of their kind is loaded, which another lab
or another program may have asked for. As long as such a one is down and has no address it is no
state of anybody's: it is neither observed nor removed."""


class Geneve(NamedTuple):
    """A Geneve device to one remote address (existence and what only creation can set).
    ``port`` is UDP, and the family of ``remote`` that of the outer packets."""

    ns: str
    name: str
    vni: int
    remote: str
    port: int

    @property
    def kind(self) -> str:
        return "geneve"

    @property
    def key(self) -> Key:
        return (self.ns, "device", self.name)


class Dummy(NamedTuple):
    """A device that drops what is sent by it: a place for addresses (existence only)."""

    ns: str
    name: str

    @property
    def kind(self) -> str:
        return "dummy"

    @property
    def key(self) -> Key:
        return (self.ns, "device", self.name)


class Fou(NamedTuple):
    """A UDP port of which the kernel takes packets out of packets: ``gue`` with a header that
    says what is inside, ``fou`` without, where it is of IP ``protocol``."""

    ns: str
    port: int
    type: Literal["fou", "gue"]
    family: Literal["ip", "ip6"] = "ip"
    protocol: int = 0

    @property
    def kind(self) -> str:
        return "fou"

    @property
    def key(self) -> Key:
        return (self.ns, "fou", f"{self.family} {self.port}")


class Wireguard(NamedTuple):
    """A WireGuard device. ``public_key`` tells which private one it has, ``port`` is UDP, and
    ``fwmark`` that of the packets which it sends, zero for none."""

    ns: str
    name: str
    public_key: str
    port: int
    fwmark: int = 0

    @property
    def kind(self) -> str:
        return "wireguard"

    @property
    def key(self) -> Key:
        return (self.ns, "device", self.name)


class WireguardPeer(NamedTuple):
    """Whom a WireGuard device knows: what is for ``allowed_ips`` (prefixes, sorted as text) is
    encrypted to it, and nothing else is taken from it.

    ``endpoint`` is ``192.168.1.11:51820`` or ``[fd00::11]:51820``; ``shared_key`` may be empty;
    ``keepalive_s`` zero for none.
    """

    ns: str
    dev: str
    public_key: str
    endpoint: str
    allowed_ips: tuple[str, ...]
    shared_key: str = ""
    keepalive_s: int = 0

    @property
    def kind(self) -> str:
        return "peer"

    @property
    def key(self) -> Key:
        return (self.ns, "peer", f"{self.dev} {self.public_key}")


class Interface(NamedTuple):
    """Configuration of one interface, whatever device it is.

    ``mac`` is empty where the kernel's random one stays. ``master`` is the bridge
    that it is a port of, or empty; ``hairpin`` concerns a port. ``tso``, ``gso``
    and ``gro`` are the *requested* offloads, ``tx`` that of checksums; ``promisc`` is what
    ``ip link set promisc`` says, not what a capture asks for meanwhile. The kernel makes no
    IPv6 link-local address by itself: where there is one, it is an :class:`Addr` (see
    docs/datapaths.md).
    """

    ns: str
    name: str
    up: bool
    mtu: int
    mac: str = ""
    master: str = ""
    hairpin: bool = False
    tso: bool = True
    gso: bool = True
    gro: bool = True
    tx: bool = True
    promisc: bool = False

    @property
    def kind(self) -> str:
        return "interface"

    @property
    def key(self) -> Key:
        return (self.ns, "interface", self.name)


class Addr(NamedTuple):
    """An address with its prefix, ``10.244.1.1/24``; ``scope`` as iproute2 prints it.

    One of IPv6 is usable at once, without duplicate address detection (``nodad``).
    """

    ns: str
    dev: str
    address: str
    scope: str = "global"

    @property
    def kind(self) -> str:
        return "addr"

    @property
    def key(self) -> Key:
        return (self.ns, "addr", f"{self.dev} {self.address}")


class Hop(NamedTuple):
    """One of several next hops of a route."""

    via: str
    dev: str
    weight: int = 1


class Route(NamedTuple):
    """A unicast or special route.

    ``dst`` is a prefix or ``default``, which is IPv4's; that of IPv6 is ``::/0``. ``via``
    and ``src`` may be empty; ``proto``, ``scope`` and ``type`` are the names that iproute2
    prints; ``table`` 254 is main. A route of IPv6 has scope global always, and metric zero
    stands for the kernel's default of 1024. ``hops``: two or more next hops, sorted, in place of
    ``via`` and ``dev``, which are empty then (see :func:`multipath`).
    """

    ns: str
    dst: str
    via: str
    dev: str
    onlink: bool = False
    scope: str = "global"
    proto: str = "boot"
    src: str = ""
    metric: int = 0
    table: int = 254
    type: str = "unicast"
    hops: tuple[Hop, ...] = ()

    @property
    def kind(self) -> str:
        return "route"

    @property
    def key(self) -> Key:
        return (self.ns, "route", f"{self.dst} table {self.table} metric {self.metric}")

    @property
    def next_hops(self) -> tuple[Hop, ...]:
        """Where it leads: one next hop or several; one of empty words for a blackhole."""
        return self.hops or (Hop(self.via, self.dev),)


def multipath(route: Route, hops: Iterable[Hop]) -> Route:
    """The route with these next hops, in normal form: one alone is no multipath."""
    first, *more = sorted(hops)
    if not more:
        return route._replace(via=first.via, dev=first.dev, hops=())
    return route._replace(via="", dev="", hops=(first, *more))


class Rule(NamedTuple):
    """A policy routing rule: ``selector`` is what stands between priority and table."""

    ns: str
    priority: int
    selector: str
    table: int
    family: Literal["ip", "ip6"] = "ip"

    @property
    def kind(self) -> str:
        return "rule"

    @property
    def key(self) -> Key:
        six = "ip6 " if self.family == "ip6" else ""
        return (self.ns, "rule", f"{six}{self.priority} {self.selector}")


class Neigh(NamedTuple):
    """A permanent neighbour entry."""

    ns: str
    dev: str
    address: str
    lladdr: str

    @property
    def kind(self) -> str:
        return "neigh"

    @property
    def key(self) -> Key:
        return (self.ns, "neigh", f"{self.dev} {self.address}")


FLOOD = "00:00:00:00:00:00"
"""Stands in a forwarding table for every address that is in no other entry, and for broadcasts."""


class Fdb(NamedTuple):
    """A permanent entry in the forwarding table of a VXLAN device (``self``).

    Several may be for :data:`FLOOD`: such frames go to all of them.
    """

    ns: str
    dev: str
    lladdr: str
    dst: str

    @property
    def kind(self) -> str:
        return "fdb"

    @property
    def key(self) -> Key:
        return (self.ns, "fdb", f"{self.dev} {self.lladdr} {self.dst}")


class Cutter(NamedTuple):
    """A root tbf that limits nothing, for what a tbf does besides: a packet of several segments is
    cut before it is counted, queued, delayed or lost.

    ``frame_b``: what is longer than a frame of so many bytes is cut; a multiple of 400. Other
    qdiscs stand below it (``BELOW_CUTTER``).
    """

    ns: str
    dev: str
    frame_b: int

    @property
    def kind(self) -> str:
        return "cutter"

    @property
    def key(self) -> Key:
        return (self.ns, "cutter", self.dev)


BELOW_CUTTER = "9:1"
CUTTER_BIT = 50_000_000_000
"""Faster than any path of frames; in one tick of the kernel's it sends 400 bytes."""
CUTTER_LIMIT_B = 10_000_000
"""Of the queue that it has until something else stands below it."""


def cutter_burst_b(cutter: Cutter) -> int:
    """The tbf's burst: half a tick longer, so that the kernel's roundings change nothing."""
    return cutter.frame_b + 200


class Qdisc(NamedTuple):
    """What shapes an interface: tbf, or htb with one class that holds the rate and a bfifo for its
    queue.

    ``rate_bit`` in bits per second, a multiple of 8; ``burst_b`` and ``limit_b``, the length of
    the queue, in bytes. ``parent``: the class of a :class:`Netem` or a :class:`Cutter` below which
    it stands, ``10:1``; empty for a root.
    """

    ns: str
    dev: str
    discipline: Literal["tbf", "htb"]
    rate_bit: int
    burst_b: int
    limit_b: int
    parent: str = ""

    @property
    def kind(self) -> str:
        return "qdisc"

    @property
    def key(self) -> Key:
        return (self.ns, "qdisc", self.dev)


NETEM_HANDLES: Mapping[Distribution, int] = {"uniform": 0x10, "normal": 0x11, "pareto": 0x12}
"""By distribution of the jitter, which the kernel tells nobody: the handle says it."""


class Netem(NamedTuple):
    """A netem: what an interface sends is late, lost, doubled, overtaken or damaged.

    ``limit_p`` in packets, chances in parts per billion. Packets are lost each for itself
    (``loss_ppb``), or in bursts (``gilbert_ppb``: the chances that a burst begins and ends).
    ``gap``: of ``reorder_ppb``, 0 where nothing overtakes. ``distribution`` is uniform where
    ``jitter_us`` is zero. ``parent``: that of a :class:`Cutter`; empty for a root.
    """

    ns: str
    dev: str
    limit_p: int
    delay_us: int = 0
    jitter_us: int = 0
    distribution: Distribution = "uniform"
    loss_ppb: int = 0
    gilbert_ppb: tuple[int, int] = (0, 0)
    duplicate_ppb: int = 0
    reorder_ppb: int = 0
    gap: int = 0
    corrupt_ppb: int = 0
    parent: str = ""

    @property
    def kind(self) -> str:
        return "netem"

    @property
    def key(self) -> Key:
        return (self.ns, "netem", self.dev)

    @property
    def handle(self) -> str:
        """As ``tc`` writes it: ``10:``."""
        return f"{NETEM_HANDLES[self.distribution]:x}:"


class Htb(NamedTuple):
    """A root htb ``1:`` with classes of its own; ``default`` is the minor number of the class
    that takes what no filter names. Where there is none of that number it passes unshaped."""

    ns: str
    dev: str
    default: int

    @property
    def kind(self) -> str:
        return "qdisc"

    @property
    def key(self) -> Key:
        return (self.ns, "qdisc", self.dev)


class TcClass(NamedTuple):
    """A class ``1:<minor>`` below an ``Htb``, whose ceiling is its rate.

    ``rate_bit`` in bits per second, a multiple of 8; ``burst_b`` in bytes.
    """

    ns: str
    dev: str
    minor: int
    rate_bit: int
    burst_b: int

    @property
    def kind(self) -> str:
        return "class"

    @property
    def key(self) -> Key:
        return (self.ns, "class", f"{self.dev} 1:{self.minor:x}")


class TcFilter(NamedTuple):
    """A u32 filter of an ``Htb``, of priority 1: IPv4 packets with that source or destination
    (``10.244.1.2/32``) go to class ``1:<minor>``. ``node`` is the last part of its handle
    ``800::<node>``: of two that match, the lower one takes the packet."""

    ns: str
    dev: str
    node: int
    field: Literal["src", "dst"]
    address: str
    minor: int

    @property
    def kind(self) -> str:
        return "filter"

    @property
    def key(self) -> Key:
        return (self.ns, "filter", f"{self.dev} 800::{self.node:x}")


class Sysctl(NamedTuple):
    """A sysctl of the namespace by its slash name without ``/proc/sys/``.

    ``if_present``: the kernel may lack it (br_netfilter not loaded); then there is
    nothing to set and nothing to verify.
    """

    ns: str
    name: str
    value: str
    if_present: bool = False

    @property
    def kind(self) -> str:
        return "sysctl"

    @property
    def key(self) -> Key:
        return (self.ns, "sysctl", self.name)


class NftTable(NamedTuple):
    """A table of nftables; ``text`` is what ``nft -s list table`` prints, a newline at its end."""

    ns: str
    family: str
    name: str
    text: str

    @property
    def kind(self) -> str:
        return "nft"

    @property
    def key(self) -> Key:
        return (self.ns, "nft", f"{self.family} {self.name}")


class File(NamedTuple):
    """A file in the namespace's own file system (under /run, /var, /tmp or /etc)."""

    ns: str
    path: str
    text: str

    @property
    def kind(self) -> str:
        return "file"

    @property
    def key(self) -> Key:
        return (self.ns, "file", self.path)


class Attachment(NamedTuple):
    """A pod on a network that CNI binaries make: made by ADD, removed by DEL, in namespace ``ns``.

    ``conflist`` is the text of the network configuration, ``path`` the folders of the binaries,
    ``capabilities`` a JSON object of what the runtime offers. ``whole``: ADD has succeeded;
    otherwise DEL is owed.
    """

    ns: str
    pod: str
    interface: str
    network: str
    conflist: str
    path: tuple[str, ...]
    args: tuple[tuple[str, str], ...]
    capabilities: str
    timeout_s: int
    whole: bool = True

    @property
    def kind(self) -> str:
        return "attachment"

    @property
    def key(self) -> Key:
        return (self.ns, "attachment", f"{self.pod} {self.interface}")


class Process(NamedTuple):
    """A process that the lab keeps in the namespace: a container's command, or a daemon.

    ``reads``: files of the namespace that it takes its configuration from; it is sent SIGHUP
    when one of them changes. ``holds``: TUN devices that are its own, and go when it fails.
    """

    ns: str
    name: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    restart: Literal["Always", "OnFailure", "Never"]
    role: Literal["container", "daemon"] = "container"
    reads: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return "process"

    @property
    def key(self) -> Key:
        return (self.ns, "process", self.name)


def daemon(
    ns: str, name: str, argv: Sequence[str], *reads: str, holds: Sequence[str] = ()
) -> Process:
    """A daemon, started again whenever it ends."""
    return Process(ns, name, tuple(argv), (), "Always", "daemon", reads, tuple(holds))


class Foreign(NamedTuple):
    """Kernel state of a sort that no plan contains: reported by verify, never touched.

    ``what`` is ``device``, ``qdisc``, ``class`` or ``filter``; ``text`` says what the kernel
    calls it.
    """

    ns: str
    what: str
    name: str
    text: str

    @property
    def kind(self) -> str:
        return "foreign"

    @property
    def key(self) -> Key:
        return (self.ns, self.what, self.name)


Device = Bridge | Veth | Vxlan | Tun | Tunnel | Geneve | Dummy | Wireguard | OvsDevice

Resource = (
    Netns
    | Bridge
    | Veth
    | Vxlan
    | Tun
    | Tunnel
    | Geneve
    | Dummy
    | Fou
    | Wireguard
    | WireguardPeer
    | OvsDatapath
    | OvsVxlan
    | OvsVport
    | Interface
    | Addr
    | Route
    | Rule
    | XfrmState
    | XfrmPolicy
    | XfrmSa
    | Neigh
    | Fdb
    | Cutter
    | Qdisc
    | Netem
    | Htb
    | TcClass
    | TcFilter
    | Sysctl
    | NftTable
    | File
    | Attachment
    | Process
    | Foreign
)
