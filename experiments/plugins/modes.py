"""Which modes are compared: those that any kernel carries."""

from __future__ import annotations

from typing import Final

from experiments.two_nodes import modes
from experiments.two_nodes.modes import BASELINE

LEFT_OUT: Final = ("canal-host-gw", "canal-udp")
"""Each is flannel's way between the nodes and Canal's of wiring pods: the run has both."""
MODES: Final = {
    arm: mode for arm, mode in modes.MODES.items() if not mode.seldom and arm not in LEFT_OUT
}
"""By arm, in the order of figures and tables."""

QUICK: Final = (BASELINE, "host-gw", "vxlan", "kubenet")
