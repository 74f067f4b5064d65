"""What a plugin says of itself to a spec: its options, and a row of facts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, get_origin

from pydantic import BaseModel, ConfigDict


class Contradiction(NamedTuple):
    """An option that does not go with the rest of the spec."""

    option: str
    found: str
    expected: str
    hint: str


class NetworkOptions(BaseModel):
    """What every plugin has: a name. ``only_for`` says which option belongs to which backends,
    ``of_nodes`` which options are lists of names of nodes, ``counts_nodes`` which are a number of
    them, ``of_fabric`` which need routers that speak BGP."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    only_for: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    of_nodes: ClassVar[tuple[str, ...]] = ()
    counts_nodes: ClassVar[tuple[str, ...]] = ()
    of_fabric: ClassVar[tuple[str, ...]] = ()

    plugin: str

    def values(self) -> tuple[tuple[str, bool | int | str], ...]:
        """All options but plugin and backend with their values, sorted by name; lists and
        mappings as JSON."""
        return tuple(
            (name, value if isinstance(value, bool | int | str) else json.dumps(value))
            for name, value in sorted(self.model_dump(exclude={"plugin", "backend"}).items())
        )

    @classmethod
    def as_written(cls, values: Iterable[tuple[str, bool | int | str]]) -> dict[str, Any]:
        """Such values as a spec has them."""
        folded = {
            name
            for name, field in cls.model_fields.items()
            if get_origin(field.annotation) in (list, dict)
        }
        return {k: json.loads(str(v)) if k in folded else v for k, v in values}

    def contradictions(self, pod_cidrs: Sequence[str]) -> Iterator[Contradiction]:
        """Options that do not go with each other, or with the ranges of the pods, one for each
        family."""
        return iter(())


class Plugin(NamedTuple):
    """A row of the table of plugins.

    ``backends``: the first is the default; ``("",)`` when there is nothing to choose.
    ``pod_network``: False when pods have no namespace of their own.
    ``joins_nodes``: False when the plugin needs no path between nodes.
    ``one_segment``: backends that need all nodes on one segment, each with what the real
    plugin does otherwise (of ``near`` and ``far``, two nodes, and ``subnet``, far's pods).
    ``heard_by``: of backends without a tunnel, the option by which routers hear of pods.
    ``tunnels_by``: by family, the option by which pods of all nodes reach each other whatever
    routers have heard.
    ``by_routers``: pods reach those of other nodes by routers of the underlay alone.
    ``shapes``: pods have the bandwidth that their annotations say.
    ``pod_cidr``: the pods' network where the spec names none.
    ``node_subnets``: False when nodes have no subnet of their own, so that nodePrefix says nothing.
    ``ipv6``: the backends that have IPv6, alone and beside IPv4; ``with_ipv4``: those of them
    that have it beside IPv4 only.
    """

    options: type[NetworkOptions]
    backends: tuple[str, ...] = ("",)
    pod_network: bool = True
    joins_nodes: bool = True
    one_segment: Mapping[str, str] = {}
    heard_by: Mapping[str, str] = {}
    tunnels_by: Mapping[str, str] = {}
    by_routers: bool = False
    shapes: bool = False
    pod_cidr: str = "10.244.0.0/16"
    node_subnets: bool = True
    ipv6: tuple[str, ...] = ()
    with_ipv4: tuple[str, ...] = ()
