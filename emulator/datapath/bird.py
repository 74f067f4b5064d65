"""The configuration of BIRD 2, rendered from values: what routers and nodes that speak BGP share.

A configuration is statements: lines, which end with a semicolon, and blocks, which have a
head and statements of their own. The functions here make the blocks of the protocols that
Podwire uses; filters stay text, in BIRD's own language, for that is what students read.

A protocol's routes enter and leave BIRD's table by a *channel* (``ipv4 { import …; export …; };``).
Import and export are a filter's words: ``all``, ``none``, ``filter name``, ``where condition``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Literal, NamedTuple

Family = Literal["ipv4", "ipv6"]

KERNEL_METRIC = 32
"""What BIRD writes into the kernel for a metric where nobody says another."""


class Block(NamedTuple):
    """``head { body };`` — the semicolon stands inside another block only, as BIRD asks for it."""

    head: str
    body: tuple[Statement, ...] = ()


Statement = str | Block
"""A line without its semicolon, or a block."""


def config(router_id: str, statements: Iterable[Statement], log: str = "stderr all") -> str:
    """A whole file. ``router_id`` is an IPv4 address, said outright: drawn from the interfaces
    it would change with them."""
    lines = [f"log {log};", f"router id {router_id};"]
    for statement in statements:
        lines += ["", *_rendered(statement, 0)]
    return "\n".join(lines) + "\n"


def _rendered(statement: Statement, depth: int) -> Iterable[str]:
    indent = "    " * depth
    if isinstance(statement, str):
        # a filter or function written as text holds lines of its own
        last = "" if statement.endswith(("}", ";")) else ";"
        yield from (f"{indent}{row}".rstrip() for row in f"{statement}{last}".split("\n"))
        return
    end = "}" if depth == 0 else "};"
    if not statement.body:
        yield f"{indent}{statement.head} {{ {end}"
        return
    yield f"{indent}{statement.head} {{"
    for inner in statement.body:
        yield from _rendered(inner, depth + 1)
    yield f"{indent}{end}"


def name(text: str) -> str:
    """A name of the lab as BIRD takes it for a protocol: quoted, for it may hold dashes."""
    return f"'{text}'"


def channel(
    imports: str = "", exports: str = "", options: Sequence[str] = (), family: Family = "ipv4"
) -> Block:
    """The channel of a protocol; an empty filter leaves the default: import all, export none."""
    words = [("import", imports), ("export", exports)]
    return Block(family, (*(f"{word} {value}" for word, value in words if value), *options))


def device(scan_time_s: int = 2) -> Block:
    """Knowledge of the interfaces. Without it BIRD knows none, and no neighbour."""
    return Block("protocol device", (f"scan time {scan_time_s}",))


def direct(interfaces: Sequence[str], *, check_link: bool = True, family: Family = "ipv4") -> Block:
    """Routes for the networks of interfaces; patterns as BIRD has them (``eth*``, ``-cali*``).

    ``check_link``: an interface without carrier has no network, though it is up.
    """
    patterns = ", ".join(f'"{one}"' for one in interfaces)
    check = ("check link yes",) if check_link else ()
    return Block("protocol direct", (family, *check, f"interface {patterns}"))


def kernel(
    exports: str,
    *,
    imports: str = "none",
    merge_paths: bool = False,
    learn: bool = False,
    persist: bool = False,
    scan_time_s: int = 2,
    options: Sequence[str] = (),
    family: Family = "ipv4",
) -> Block:
    """The kernel's table. ``merge_paths``: equal routes become one with several next hops;
    ``learn``: routes that others wrote are seen; ``persist``: BIRD's own stay when it ends."""
    said = [("learn", learn), ("persist", persist), ("merge paths on", merge_paths)]
    return Block(
        "protocol kernel",
        (
            *(words for words, on in said if on),
            f"scan time {scan_time_s}",
            *options,
            channel(imports, exports, family=family),
        ),
    )


def bfd(interfaces: Sequence[str], interval_ms: int, multiplier: int) -> Block:
    """Bidirectional forwarding detection on these interfaces, for sessions that say ``bfd on``.

    ``multiplier`` is 1 to 255: BIRD takes more and forgets the upper bits.
    """
    patterns = ", ".join(f'"{one}"' for one in interfaces)
    times = (f"interval {interval_ms} ms", f"multiplier {multiplier}")
    return Block("protocol bfd", (Block(f"interface {patterns}", times),))


def static(
    label: str,
    routes: Sequence[str],
    *,
    imports: str = "",
    check_link: bool = False,
    family: Family = "ipv4",
) -> Block:
    """Routes as written here, such as ``10.244.1.0/26 blackhole``.

    ``check_link``: one whose interface has no carrier is none.
    """
    lines = (f"route {route}" for route in routes)
    check = ("check link yes",) if check_link else ()
    head = f"protocol static {name(label)}"
    return Block(head, (channel(imports, family=family), *check, *lines))


class Speaker(NamedTuple):
    """One end of a BGP session: an address and the number of its autonomous system."""

    address: str
    as_number: int


def bgp(
    label: str,
    local: Speaker,
    neighbor: Speaker,
    *,
    imports: str = "all",
    exports: str,
    channel_options: Sequence[str] = (),
    options: Sequence[str] = (),
    template: str = "",
) -> Block:
    """A session; of one AS it is an internal one. ``template`` names one to begin from."""
    family: Family = "ipv4" if ip_address(neighbor.address).version == 4 else "ipv6"
    begun = f" from {template}" if template else ""
    return Block(
        f"protocol bgp {name(label)}{begun}",
        (
            f"local {local.address} as {local.as_number}",
            f"neighbor {neighbor.address} as {neighbor.as_number}",
            *options,
            channel(imports, exports, channel_options, family),
        ),
    )


def template(label: str, body: Sequence[Statement]) -> Block:
    """What sessions have in common."""
    return Block(f"template bgp {label}", tuple(body))


def argv(config_path: str, socket_path: str) -> tuple[str, ...]:
    """BIRD in the foreground, with a control socket (``birdc -s``) of its own."""
    return ("bird", "-f", "-c", config_path, "-s", socket_path)
