"""A bridge on each node, all with the same addresses, and nothing that joins the nodes."""

from __future__ import annotations

from emulator.ipam import Addressing
from emulator.oracle import model
from emulator.oracle.model import Leg
from emulator.spec.resolved import ResolvedSpec
from emulator.wires import Wires


class Model(model.Model):
    """Pods of one node reach each other; an address elsewhere means its local holder."""

    bridge = "cni0"

    def __init__(self, spec: ResolvedSpec, at: Addressing, wires: Wires) -> None:
        super().__init__(spec, at, wires)
        self.everywhere_the_same = True

    def leg(self, near: str, far: str) -> Leg:
        """There is none."""
        return Leg("", "", f"nothing joins the pods of {near} to those of {far}")
