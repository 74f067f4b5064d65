"""What the network model should show: a prediction that knows nothing of the plan.

The oracle reasons from the resolved spec, the addresses and the faults alone: who stands
on which bridge, which hops route, who rewrites a source. It never sees a route, a rule
or a device of the compiler, so that an error there cannot hide here. What a plugin does is in
its room, a :class:`emulator.oracle.model.Model`.
"""

from emulator.oracle.answers import Oracle, predict, probes
from emulator.oracle.asked import Expectation, Matrix, Probe

__all__ = ["Expectation", "Matrix", "Oracle", "Probe", "predict", "probes"]
