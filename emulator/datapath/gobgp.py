"""The configuration of GoBGP's daemon ``gobgpd``, rendered from values as TOML.

A configuration is tables: a head, ``[global.config]`` or ``[[neighbors]]`` for one of several,
and values by name. gobgpd reads it at its start and again on SIGHUP; neighbours, sets and
policies follow then, what is global does not. It cannot announce a prefix by itself, and in
Debian's form it writes nothing into the kernel: both are somebody else's (``gobgp-routes``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from emulator.family import IPV4, Family, family

API = ("127.0.0.1", 50051)
"""Where gobgpd listens for its client ``gobgp``: the default of both, in each namespace."""

Value = str | int | bool | Sequence[str]


class Table(NamedTuple):
    """A table by its head, with what it holds."""

    head: str
    values: Mapping[str, Value]


class Neighbor(NamedTuple):
    """A session from ``local``, about paths of ``families``. Times in seconds.

    ``cluster_id`` is empty unless the neighbour is a client of this route reflector;
    ``restart_time_s`` is zero without graceful restart.
    """

    address: str
    local: str
    as_number: int
    hold_time_s: int
    connect_retry_s: int
    cluster_id: str = ""
    restart_time_s: int = 0
    deferral_time_s: int = 0
    families: Sequence[Family] = (IPV4,)


class Statement(NamedTuple):
    """A rule of a policy: prefixes of a set, at neighbours of a set."""

    prefixes: str
    neighbors: str
    accept: bool


def config(tables: Iterable[Table]) -> str:
    """A whole file."""
    return "\n".join(
        f"{table.head}\n" + "".join(f"{k} = {_toml(v)}\n" for k, v in table.values.items())
        for table in tables
    )


def _toml(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return f'"{value}"'
    return "[" + ", ".join(f'"{one}"' for one in value) + "]"


def speaker(as_number: int, router_id: str, addresses: Sequence[str]) -> Iterable[Table]:
    """The daemon itself, and the addresses where it listens. ``router_id`` has 32 bits."""
    values: dict[str, Value] = {"as": as_number, "router-id": router_id}
    yield Table("[global.config]", {**values, "port": 179, "local-address-list": addresses})


def policies(imports: str, exports: str) -> Iterable[Table]:
    """Which policies all routes pass: taken unless refused, given away only if accepted."""
    yield Table(
        "[global.apply-policy.config]",
        {
            "import-policy-list": [imports],
            "default-import-policy": "accept-route",
            "export-policy-list": [exports],
            "default-export-policy": "reject-route",
        },
    )


def prefix_set(name: str, prefixes: Iterable[str], *, parts: bool = False) -> Iterable[Table]:
    """A set of prefixes, with all of their ``parts`` or none."""
    yield Table("[[defined-sets.prefix-sets]]", {"prefix-set-name": name})
    for prefix in prefixes:
        length, longest = prefix.partition("/")[2], family(prefix).bits
        yield Table(
            "[[defined-sets.prefix-sets.prefix-list]]",
            {"ip-prefix": prefix, "masklength-range": f"{length}..{longest if parts else length}"},
        )


def neighbor_set(name: str, addresses: Iterable[str]) -> Iterable[Table]:
    """A set of neighbours by their addresses. One that is empty matches every neighbour."""
    values: dict[str, Value] = {"neighbor-set-name": name}
    values["neighbor-info-list"] = [f"{address}/{family(address).bits}" for address in addresses]
    yield Table("[[defined-sets.neighbor-sets]]", values)


def policy(name: str, statements: Iterable[Statement]) -> Iterable[Table]:
    """A policy; a statement has the name of its two sets."""
    head = "policy-definitions"
    yield Table(f"[[{head}]]", {"name": name})
    for prefixes, neighbors, accept in statements:
        part = f"{head}.statements"
        yield Table(f"[[{part}]]", {"name": prefixes + neighbors})
        yield Table(
            f"[{part}.conditions.match-prefix-set]",
            {"prefix-set": prefixes, "match-set-options": "any"},
        )
        yield Table(
            f"[{part}.conditions.match-neighbor-set]",
            {"neighbor-set": neighbors, "match-set-options": "any"},
        )
        disposition = "accept-route" if accept else "reject-route"
        yield Table(f"[{part}.actions]", {"route-disposition": disposition})


def neighbor(n: Neighbor) -> Iterable[Table]:
    """A session. A keepalive goes out three times in the hold time, as GoBGP has it."""
    yield Table("[[neighbors]]", {})
    yield Table("[neighbors.config]", {"neighbor-address": n.address, "peer-as": n.as_number})
    yield Table("[neighbors.transport.config]", {"local-address": n.local, "remote-port": 179})
    yield Table(
        "[neighbors.timers.config]",
        {
            "hold-time": n.hold_time_s,
            "keepalive-interval": n.hold_time_s // 3,
            "connect-retry": n.connect_retry_s,
        },
    )
    if n.cluster_id:
        yield Table(
            "[neighbors.route-reflector.config]",
            {"route-reflector-client": True, "route-reflector-cluster-id": n.cluster_id},
        )
    if n.restart_time_s:
        yield Table(
            "[neighbors.graceful-restart.config]",
            {
                "enabled": True,
                "restart-time": n.restart_time_s,
                "deferral-time": n.deferral_time_s,
            },
        )
    for which in n.families:
        yield Table("[[neighbors.afi-safis]]", {})
        name = f"{which.name.lower()}-unicast"
        yield Table("[neighbors.afi-safis.config]", {"afi-safi-name": name})
        if n.restart_time_s:
            yield Table("[neighbors.afi-safis.mp-graceful-restart.config]", {"enabled": True})


def argv(path: str, *, restarting: bool = False) -> tuple[str, ...]:
    """gobgpd with a configuration; its log is plain text. ``restarting``: it tells its
    neighbours at the start that it has come back."""
    words = ("gobgpd", "-f", path, "--api-hosts", ":".join(map(str, API)))
    return (*words, "--pprof-disable", "--log-plain", *(("-r",) if restarting else ()))
