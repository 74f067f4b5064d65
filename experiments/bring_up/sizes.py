"""The clusters that are brought up: N nodes with M pods each on one segment."""

from __future__ import annotations

import re
from typing import NamedTuple

from emulator.errors import Problem, SpecError

_TEXT = """\
apiVersion: podwire/v1
kind: Cluster
metadata: {{name: cluster-{nodes}x{per_node}}}
spec:
  network: {network}
  underlay: {{segments: {{rack: {{cidr: 192.168.48.0/20}}}}}}
  nodes: {{count: {nodes}}}
  pods: {{perNode: {per_node}}}
"""


class Size(NamedTuple):
    """Nodes, and pods on each of them; the pod network as YAML."""

    nodes: int
    per_node: int
    network: str = "{plugin: flannel, backend: vxlan}"

    def __str__(self) -> str:
        return f"{self.nodes}x{self.per_node}"

    @property
    def pods(self) -> int:
        """All pods."""
        return self.nodes * self.per_node

    @property
    def hosts(self) -> int:
        """Pods and nodes: what stock Mininet is given as hosts."""
        return self.pods + self.nodes

    def yaml(self) -> str:
        """The spec."""
        return _TEXT.format(**self._asdict())


def parse(text: str) -> Size:
    """``50x10``. SpecError otherwise."""
    match = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", text)
    if match is None:
        raise SpecError(Problem("size", repr(text), "nodes x pods per node, such as 50x10"))
    return Size(int(match[1]), int(match[2]))
