"""Between GoBGP and the kernel: announces prefixes, and writes what was learnt into the main table.

gobgpd, as it is packaged, does neither. What kube-router does around its embedded GoBGP is done
here by means of ``gobgp``, gobgpd's own client:

- a prefix of each family is announced, with the node's address of that family as next hop, anew
  whenever gobgpd has started;
- best paths are followed as they change. A path of a neighbour becomes a route of protocol 17: into
  the tunnel that there is to its next hop, with one in table 77 to that itself; without a tunnel
  by the next hop, where that lies in the node's own subnet of that family. Any other is left to
  the fabric. A withdrawn path takes every route of that protocol to its prefix with it;
- all routes are written again in every period, for whoever may have removed one.

When gobgpd ends, nobody withdraws anything: routes stay as they are. Once it is back, those that
it does not tell of again are removed, whoever wrote them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import IO, Any, NamedTuple, NoReturn

from emulator.plan.resources import Route
from emulator.substrate import decode, encode, rtnl
from emulator.substrate.netlink import Message, Netlink

PROTOCOL = "17"
"""kube-router's, named after Zebra, whose number is 11."""

TUNNELS = 77
"""kube-router's table of what goes into a tunnel though it is for a node."""

_API = ("127.0.0.1", 50051)
_LOOK_S = 0.1
_UNHEARD_S = 15.0
"""GoBGP calls its neighbours 5 to 9 s after it has started, and a second time is quick."""
_NEXT_HOP = (3, 14)
"""The numbers of the attributes of a path that have it; the second one of other families than
IPv4."""


class Settings(NamedTuple):
    """``announce`` are prefixes, one of each family, each with the node's own address;
    ``subnets`` are where these lie and ``dev`` the interface that leads there; ``tunnels``:
    by the address of a node, the interface that leads to it; ``period_s`` seconds between two
    writings of all routes."""

    announce: tuple[tuple[str, str], ...]
    subnets: tuple[str, ...]
    dev: str
    tunnels: Mapping[str, str]
    period_s: float


class Best(NamedTuple):
    """A change of the best path to a prefix; ``neighbor`` is empty for one of our own."""

    prefix: str
    next_hop: str
    neighbor: str
    withdrawn: bool


def bests(line: str) -> Iterator[Best]:
    """The changes that a line of ``gobgp monitor global rib -j`` tells of.

    Its last words, where it ends because gobgpd has ended, tell of none.
    """
    told = json.loads(line)
    for path in told if isinstance(told, list) else ():
        yield Best(
            path["nlri"]["prefix"],
            next((a["nexthop"] for a in path["attrs"] if a["type"] in _NEXT_HOP), ""),
            path.get("neighbor-ip", ""),
            path.get("withdrawal", False),
        )


def on_segment(best: Best, subnets: Sequence[str]) -> bool:
    """Whether its next hop is reached without a router."""
    if not best.next_hop:
        return False
    return any(ip_address(best.next_hop) in ip_network(subnet) for subnet in subnets)


def routes(best: Best, settings: Settings) -> list[Route]:
    """What a path becomes; nothing where it is left to the fabric."""
    if tunnel := settings.tunnels.get(best.next_hop):
        six = ":" in best.next_hop
        own = next(a for _, a in settings.announce if (":" in a) == six)
        host = f"{best.next_hop}/{128 if six else 32}"
        return [
            Route("", best.prefix, "", tunnel, proto=PROTOCOL, src=own),
            Route("", host, "", tunnel, table=TUNNELS),
        ]
    if on_segment(best, settings.subnets):
        return [Route("", best.prefix, best.next_hop, settings.dev, proto=PROTOCOL)]
    return []


class Table:
    """Our part of the kernel's tables."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._netlink = Netlink()
        self._routes: dict[str, list[Route]] = {}
        self._unheard: set[str] = set()

    def begin(self) -> None:
        """gobgpd has started: it must tell anew of all that is there."""
        body = bytes([socket.AF_UNSPEC]) + bytes(11)
        dump = self._netlink.dump(rtnl.RTM_GETROUTE, body)
        names = dict(socket.if_nameindex())
        there = [r for r in decode.routes("", dump, names) if isinstance(r, Route)]
        for main in (r for r in there if r.proto == PROTOCOL):
            hosts = [r for r in there if r.table == TUNNELS and r.dev == main.dev]
            self._routes.setdefault(main.dst, [main, *hosts])
        self._unheard = set(self._routes)

    def forget(self) -> None:
        """Remove what it has not told of since."""
        for prefix in self._unheard:
            self._remove(prefix)
        self._unheard.clear()

    def follow(self, best: Best) -> None:
        """Write or remove what a change asks for."""
        if not best.neighbor:
            return
        self._unheard.discard(best.prefix)
        wanted = [] if best.withdrawn else routes(best, self._settings)
        if not wanted:
            self._remove(best.prefix)
            return
        for old in self._routes.get(best.prefix, ()):
            if old.table == TUNNELS and old not in wanted:
                self._netlink.send([encode.route(old, _index, "delete")])
        self._routes[best.prefix] = wanted
        self._write(wanted)

    def again(self) -> None:
        """Write everything once more."""
        self._write([route for wanted in self._routes.values() for route in wanted])

    def _write(self, routes: Sequence[Route]) -> None:
        messages = [encode.route(route, _index, "replace") for route in routes]
        for number, errno, text in self._netlink.send(messages):
            route = routes[number]
            _say(f"{route.dst} by {route.via or route.dev}: {text or os.strerror(errno)}")

    def _remove(self, prefix: str) -> None:
        for route in self._routes.pop(prefix, ()):
            if route.table == TUNNELS:
                self._netlink.send([encode.route(route, _index, "delete")])
        gone: list[Message] = [
            encode.route(Route("", prefix, "", "", proto=PROTOCOL), _index, "delete")
        ]
        while not self._netlink.send(gone):
            pass


def _index(_: str, dev: str) -> int:
    return socket.if_nametoindex(dev)


def run(arguments: Sequence[str]) -> NoReturn:
    """The daemon. It is ended from outside."""
    told = settings(arguments)
    table = Table(told)
    while True:
        _announce(told)
        table.begin()
        watching = subprocess.Popen(
            ["gobgp", "monitor", "global", "rib", "--json", "--current"], stdout=subprocess.PIPE
        )
        assert watching.stdout is not None
        with watching.stdout as lines:
            _follow(lines, table, told.period_s)
        watching.wait()
        _say("gobgpd has ended; its routes stay")


def _announce(settings: Settings) -> None:
    """Add the prefixes, as soon as gobgpd takes them."""
    pause = select.poll()
    for prefix, address in settings.announce:
        family = "ipv6" if ":" in prefix else "ipv4"
        words = ["global", "rib", "add", prefix, "nexthop", address, "-a", family]
        while not (_listens() and not subprocess.call(["gobgp", *words])):
            pause.poll(_LOOK_S * 1000)


def _listens() -> bool:
    try:
        with socket.create_connection(_API, timeout=1.0):
            return True
    except OSError:
        return False


def _follow(lines: IO[bytes], table: Table, period_s: float) -> None:
    """Follow until the other end is closed."""
    ready = select.poll()
    ready.register(lines, select.POLLIN)
    rest = b""
    forget, again = (time.monotonic() + seconds for seconds in (_UNHEARD_S, period_s))
    while True:
        if ready.poll(max(0.0, min(forget, again) - time.monotonic()) * 1000):
            data = os.read(lines.fileno(), 1 << 16)
            if not data:
                return
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                for best in bests(line.decode()):
                    table.follow(best)
        now = time.monotonic()
        if now >= forget:
            table.forget()
            forget = math.inf
        if now >= again:
            table.again()
            again = now + period_s


def settings(arguments: Sequence[str]) -> Settings:
    """What the words of a plan say."""
    words: Any = argparse.ArgumentParser("gobgp-routes")
    for name in ("announce", "address", "subnet"):
        words.add_argument(f"--{name}", action="append", required=True)
    words.add_argument("--tunnel", action="append", default=[])
    words.add_argument("--dev", required=True)
    words.add_argument("--period", type=float, required=True)
    found = words.parse_args(arguments)
    announced = tuple(zip(found.announce, found.address, strict=True))
    tunnels = dict(one.split("=") for one in found.tunnel)
    return Settings(announced, tuple(found.subnet), found.dev, tunnels, found.period)


def _say(text: str) -> None:
    print(text, flush=True)
