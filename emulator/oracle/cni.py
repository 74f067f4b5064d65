"""Any conflist: what is certain of the reference plugins, and nothing beyond.

Predicted are chains that begin with ``bridge`` or ``ptp`` as a gateway, with addresses of one
range by host-local and a default route, followed by plugins that change no path. Pods of one node
then reach each other, and nothing joins the nodes. Of any other chain nothing is predicted: what
probes find is reported, and is neither right nor wrong.
"""

from __future__ import annotations

from functools import cached_property

from emulator.conflist.model import Conflist, Plugin, parse
from emulator.conflist.predicted import fixed_range, per_node
from emulator.conflist.reading import Json
from emulator.ipam import Addressing
from emulator.oracle import model
from emulator.oracle.model import Leg
from emulator.spec.resolved import Network, ResolvedSpec
from emulator.wires import Wires

_CHANGE_NO_PATH = ("portmap", "firewall", "tuning", "loopback")
_KEEPS_APART = ("vlan", "vlanTrunk", "macspoofchk", "portIsolation")
_KERNEL_MTU = 1500


class Model(model.Model):
    """What the first plugin of the chain does."""

    def __init__(self, spec: ResolvedSpec, at: Addressing, wires: Wires) -> None:
        super().__init__(spec, at, wires)
        conflist = _conflist(spec.network)
        main = conflist.plugins[0]
        self.bridge = self.bridge_of(spec.network)
        self.unknown = unpredictable(conflist)
        self.everywhere_the_same = fixed_range(conflist) is not None
        self.masquerade = self.masquerade_to_nodes = main.conf.get("ipMasq") is True
        mtu = main.conf.get("mtu")
        self.pod_mtu = mtu if isinstance(mtu, int) and mtu else _KERNEL_MTU

    @classmethod
    def bridge_of(cls, network: Network) -> str:
        """The bridge, where the first plugin is one."""
        main = _conflist(network).plugins[0]
        if main.type != "bridge":
            return ""
        name = main.conf.get("bridge")
        return name if isinstance(name, str) and name else "cni0"

    def here(self, node: str) -> str:
        """The gateway: on the bridge, or with ptp on every pod's cable."""
        return self.at.gateway[node]

    @cached_property
    def _why(self) -> str:
        return f"conflist {_conflist(self.spec.network).name} has no part between nodes"

    def leg(self, near: str, far: str) -> Leg:
        """There is none."""
        words = f"nothing joins the pods of {near} to those of {far}: {self._why}"
        return Leg(self.at.node[near], words, words)


def unpredictable(conflist: Conflist) -> str:
    """Why nothing is predicted of a chain; empty where something is."""
    main, *others = conflist.plugins
    if main.type not in ("bridge", "ptp"):
        return f"nothing is known of where {main.type} puts a pod"
    if not per_node(conflist) and fixed_range(conflist) is None:
        return f"{main.type} takes its addresses not from one range of host-local"
    if main.type == "bridge" and not _gateway(main):
        return "the bridge is no gateway"
    if not _default_route(main):
        return "its pods have no default route"
    strange = [key for key in _KEEPS_APART if main.conf.get(key)]
    if strange:
        return f"{main.type} with {strange[0]} keeps packets from each other"
    for other in others:
        if other.type not in _CHANGE_NO_PATH:
            return f"nothing is known of what {other.type} does to packets"
        if other.conf.get("mtu") or other.conf.get("ingressPolicy"):
            return f"{other.type} changes what passes"
    return ""


def _gateway(main: Plugin) -> bool:
    return main.conf.get("isGateway") is True or main.conf.get("isDefaultGateway") is True


def _default_route(main: Plugin) -> bool:
    routes: Json = main.ipam().get("routes")
    listed = routes if isinstance(routes, list) else []
    told = any(isinstance(one, dict) and one.get("dst") == "0.0.0.0/0" for one in listed)
    return told or (main.type == "bridge" and main.conf.get("isDefaultGateway") is True)


def _conflist(network: Network) -> Conflist:
    return parse(str(network.option("conflist")), "conflist")
