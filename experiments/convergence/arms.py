"""Who has to find out, what fails, and where both can be tried.

An arm is a network on an underlay, one line of ``ARMS``; an event is what fails, and which cable
or machine that is in which topology. Nothing of a live lab is known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

HOLD_S: Final = 3
"""The shortest that BGP knows: after so many silent seconds a neighbour counts as gone."""
LONG_HOLD_S: Final = 15
WAY: Final = "way"
"""In a target: the spine that carries the stream, which is known only when it does."""
BFD_MS: Final = 500
"""After so many silent milliseconds BFD gives up a router: 5 times 100, when not told otherwise."""


class Arm(NamedTuple):
    """``network`` on a rack or on a fabric, ``hold`` the option for its hold time, if it has one.

    ``daemon``: what of it can die, by node or router.
    """

    network: Mapping[str, Any]
    topology: str
    routing: str = "static"
    hold: str = ""
    daemon: str = ""


class Event(NamedTuple):
    """A fault by topology: the file that it needs, the kind, and the target."""

    rack: tuple[str, str, str]
    fabric: tuple[str, str, str]


_VXLAN = {"plugin": "flannel", "backend": "vxlan"}
_CALICO = {"gracefulRestartTime": 4, "connectRetryTime": 1, "connectDelayTime": 1}
"""Shorter than Calico's own 120 s, 5 s and 2 s, so that a cell shows all of it."""

ARMS: Final[Mapping[str, Arm]] = {
    "static": Arm(_VXLAN, "fabric"),
    "bgp-fabric": Arm(_VXLAN, "fabric", "bgp", daemon=f"{WAY}:bird"),
    "calico-bgp": Arm(
        {"plugin": "calico", "backend": "bgp", **_CALICO}, "rack", hold="holdTime",
        daemon="n2:bird",
    ),
    "calico-tor": Arm(
        {"plugin": "calico", "backend": "bgp", "nodeToNodeMeshEnabled": False,
         "peerWithRouters": True, **_CALICO},
        "fabric", "bgp", hold="holdTime", daemon="n2:bird",
    ),
    "kube-router": Arm(
        {"plugin": "kube-router", "connectRetry": 5}, "rack", hold="bgpHoldtime",
        daemon="n2:gobgpd",
    ),
    "kube-router-tor": Arm(
        {"plugin": "kube-router", "connectRetry": 5, "enableOverlay": False, "peerRouters": True},
        "fabric", "bgp", hold="bgpHoldtime", daemon="n2:gobgpd",
    ),
}  # fmt: skip
"""By name, in the order of figures."""

EVENTS: Final[Mapping[str, Event]] = {
    "link": Event(("rack", "link", "n2"), ("fabric", "link", f"leaf2:{WAY}")),
    "silent": Event(("rack", "link", "s2"), ("switched-fabric", "link", f"leaf2:{WAY}")),
    "node": Event(("rack", "node", "n2"), ("fabric", "node", "n2")),
    "daemon": Event(("rack", "daemon", ""), ("fabric", "daemon", "")),
}
TITLES: Final = {
    "link": "link, seen",
    "silent": "link, silent",
    "node": "node",
    "daemon": "daemon",
}
QUICK: Final = (("static", "link"), ("bgp-fabric", "link"), ("calico-tor", "link"))


def possible(arm: str, event: str) -> bool:
    """Whether there is something of the kind to fail: not every arm has a daemon."""
    return event != "daemon" or bool(ARMS[arm].daemon)


def holds(arm: str, event: str) -> tuple[int, ...]:
    """The hold times of the arm's own sessions to try, seconds; 0 where it has none to set.

    Two where the nodes' own sessions are all that can notice.
    """
    one = ARMS[arm]
    if not one.hold:
        return (0,)
    return (HOLD_S, LONG_HOLD_S) if (one.topology, event) == ("rack", "silent") else (HOLD_S,)


def bfds(arm: str, event: str) -> tuple[int, ...]:
    """The milliseconds in which the BFD of the routers gives up another one; 0: they have none.

    Both where one router is silent to another, which only those that speak BGP can turn to use.
    """
    return (0, BFD_MS) if ARMS[arm].routing == "bgp" and event == "silent" else (0,)


def fault(arm: str, event: str) -> tuple[str, str, str]:
    """(topology, kind, target), with ``WAY`` still in it."""
    one = ARMS[arm]
    topology, kind, target = EVENTS[event].rack if one.topology == "rack" else EVENTS[event].fabric
    return topology, kind, one.daemon if event == "daemon" else target
