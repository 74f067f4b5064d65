"""What a message costs by Podwire's own codec, by pyroute2 and by ``ip -batch``.

    python -m experiments.bring_up.codecs [MESSAGES]

adds the same routes (2,000 unless told otherwise) by each way, in one namespace and spread over
a hundred (a cluster has a namespace for each pod), five times in turn, and prints medians in
microseconds per message. pyroute2 is no dependency of Podwire: without it its row says so. The
figures of docs/decisions/0001-netlink-codec.md are from here.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from statistics import median
from typing import Any, NamedTuple

from emulator.errors import PodwireError, Problem
from emulator.plan import Op
from emulator.plan.resources import Netns, Route
from emulator.report.table import Table, text
from emulator.substrate import encode, rtnl
from emulator.substrate.host import run_on_host
from emulator.substrate.kernel import Kernel
from emulator.substrate.netlink import Message, Netlink
from emulator.substrate.sandbox import FILES, NAMES
from experiments.bring_up import sealed

ROUNDS = 5
SPREADS = (1, 100)
_LOOPBACK = 1


class Cost(NamedTuple):
    """Seconds for all messages: making the bytes (None where it cannot be told), and all of it."""

    encoding_s: float | None
    whole_s: float


def routes(count: int) -> list[str]:
    """So many different prefixes."""
    return [f"10.{n >> 8 & 255}.{n & 255}.0/24" for n in range(count)]


def own(prefixes: Sequence[str]) -> Cost:
    """Podwire's encoder, and batches of which the last message is acknowledged."""
    resources = [Route("", dst, "", "lo", scope="link") for dst in prefixes]

    def index(ns: str, name: str) -> int:
        return _LOOPBACK

    begun = time.perf_counter()
    messages: list[Message] = [encode.route(one, index, "create") for one in resources]
    encoded = time.perf_counter()
    link = Netlink()
    refusals = link.send(messages)
    link.close()
    ended = time.perf_counter()
    if refusals:
        raise PodwireError(Problem("own codec", str(refusals[0]), "no refusal"))
    return Cost(encoded - begun, ended - begun)


def pyroute2(prefixes: Sequence[str]) -> Cost:
    """Its ``IPRoute.route``, one request and answer for each; encoding apart, by its message."""
    rtmsg = import_module("pyroute2.netlink.rtnl.rtmsg").rtmsg
    begun = time.perf_counter()
    for dst in prefixes:
        address, _, length = dst.partition("/")
        message = rtmsg()
        message["family"], message["dst_len"], message["table"] = 2, int(length), 254
        message["attrs"] = [("RTA_DST", address), ("RTA_OIF", _LOOPBACK)]
        message.encode()
    encoding_s = time.perf_counter() - begun
    begun = time.perf_counter()
    with import_module("pyroute2").IPRoute() as link:
        for dst in prefixes:
            link.route("add", dst=dst, oif=_LOOPBACK, scope="link")
    return Cost(encoding_s, time.perf_counter() - begun)


def ip_batch(prefixes: Sequence[str]) -> Cost:
    """One ``ip -batch`` for all of them."""
    lines = "".join(f"route add {dst} dev lo scope link\n" for dst in prefixes).encode()
    begun = time.perf_counter()
    ended = run_on_host(("ip", "-batch", "-"), timeout_s=120, stdin=lines)
    whole_s = time.perf_counter() - begun
    if ended.returncode:
        raise PodwireError(Problem("ip -batch", ended.stderr.decode().strip(), "exit code 0"))
    return Cost(None, whole_s)


WAYS: dict[str, Callable[[Sequence[str]], Cost]] = {
    "own codec": own,
    "pyroute2": pyroute2,
    "ip -batch": ip_batch,
}


def measure(way: str, prefixes: Sequence[str], namespaces: int) -> Cost:
    """One way in a world of its own, all namespaces together. PodwireError on a refusal."""

    def body() -> tuple[dict[str, Any], Callable[[], sealed.Facts]]:
        kernel = Kernel(NAMES, FILES)
        names = [f"n{number}" for number in range(namespaces)]
        kernel.apply([Op("create", Netns(name), None) for name in names])
        costs = []
        for number, name in enumerate(names):
            kernel.enter(name)
            link = Netlink()
            link.send([Message(rtnl.RTM_NEWLINK, 0, encode.ifinfo(_LOOPBACK, 1, 1))])  # lo up
            link.close()
            costs.append(WAYS[way](prefixes[number::namespaces]))
        return {"costs": costs}, dict

    with sealed.world("bring-up-codecs", body) as (_, facts):
        costs: list[Cost] = facts["costs"]
    encodings = [cost.encoding_s for cost in costs if cost.encoding_s is not None]
    return Cost(sum(encodings) if encodings else None, sum(cost.whole_s for cost in costs))


def main(arguments: list[str]) -> int:
    """Command line: the exit code of a PodwireError, its text on standard error."""
    prefixes = routes(int(arguments[0]) if arguments else 2000)
    there = find_spec("pyroute2") is not None
    ways = [way for way in WAYS if way != "pyroute2" or there]
    if there:
        import_module("pyroute2")  # before the world covers what it may lie in
    cells = [(way, namespaces) for namespaces in SPREADS for way in ways]
    try:
        rounds = [{cell: measure(cell[0], prefixes, cell[1]) for cell in cells}
                  for _ in range(ROUNDS)]  # fmt: skip
    except PodwireError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    rows = [_row(cell, [one[cell] for one in rounds], len(prefixes)) for cell in cells]
    if not there:
        rows.append(("", "pyroute2", "unsupported here: pip install pyroute2", ""))
    headings = ("namespaces", "way", "encoding, us/message", "with the kernel, us/message")
    print(text(Table(headings, tuple(rows), frozenset(headings[2:]))), end="")
    print(f"{len(prefixes)} routes, median of {ROUNDS} rounds in turn, Linux {os.uname().release}")
    return 0


def _row(cell: tuple[str, int], costs: list[Cost], count: int) -> tuple[str, str, str, str]:
    encodings = [cost.encoding_s for cost in costs if cost.encoding_s is not None]
    encoding = f"{median(encodings) / count * 1e6:.1f}" if encodings else "–"
    whole = f"{median(cost.whole_s for cost in costs) / count * 1e6:.1f}"
    return str(cell[1]), cell[0], encoding, whole


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
