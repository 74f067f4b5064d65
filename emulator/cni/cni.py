"""Any conflist, run with the real binaries: bring your own.

Podwire makes the namespaces, and nodes as kubeadm wants them: they forward, bridges show their
frames to iptables, no reverse path filter. So a list that forgets to switch forwarding on works
here as on a node that is ready for it. What is in a pod's besides ``lo``, and what that takes on
its node, comes from the binaries of the conflist, run as a container runtime runs them: ADD of
each plugin in order with the result of the one before, DEL in reverse. What they leave is read
right after they ran and is *expected* from then on: verified, never written.

Not modelled: the runtime's own call of the plugin ``loopback`` (``lo`` is up already), plugin
files beside a conflist. Offloads of interfaces are the kernel's own, whatever the spec's profile
asks of the underlay.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from emulator.cni.context import Context
from emulator.conflist.model import parse
from emulator.datapath.base import namespace
from emulator.plan.resources import Attachment, Resource
from emulator.spec.resolved import Node, Pod


def node(context: Context, node: Node) -> Iterator[Resource]:
    """Nothing: the binaries make what they need with the first pod."""
    yield from ()


def pod(context: Context, node: Node, pod: Pod) -> Iterator[Resource]:
    """A pod's empty namespace, and its attachment."""
    network = context.spec.network
    text = str(network.option("conflist"))
    yield from namespace(pod.id, forwards=False, congestion_control=context.spec.congestion_control)
    own = context.addressing
    subnet = {"subnet": own.node_subnet[node.name], "gateway": own.gateway[node.name]}
    offered = {
        "ipRanges": [[subnet]],
        **json.loads(str(network.option("capabilities"))),
        **json.loads(str(network.option("podCapabilities"))).get(pod.id, {}),
    }
    conflist = parse(text, "conflist")
    asked = {name for plugin in conflist.plugins for name in plugin.capabilities()}
    yield Attachment(
        node.name,
        pod.id,
        "eth0",
        conflist.name,
        text,
        tuple(json.loads(str(network.option("binDir")))),
        tuple(json.loads(str(network.option("args"))).items()),
        json.dumps({k: v for k, v in offered.items() if k in asked}, sort_keys=True),
        int(network.option("timeoutSeconds")),
    )
