"""A lab built by somebody's shell script, with the same places to run programs in as a Cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType

from emulator.cluster import Home, Place
from emulator.errors import LabGone, Problem, SpecError
from emulator.substrate import foreign, lab
from emulator.substrate.runtime import World


class Foreign(Home):
    """A world that lives as long as a ``with`` block, made by the text of a shell script.

    ::

        with Foreign("by-hand", script, ["vxlan"], {"n1-p1": "10.244.1.2"}) as lab:
            lab.place("n1-p1").run(["ip", "route"])

    ``addresses`` names the namespaces that the script makes, with the address of each.
    """

    def __init__(
        self, name: str, script: str, arguments: Sequence[str], addresses: Mapping[str, str]
    ) -> None:
        self.name = name
        self._script, self._arguments, self._addresses = script, arguments, addresses
        self._world: World | None = None

    @property
    def world(self) -> World:
        """The running lab. LabGone outside of the ``with`` block."""
        if self._world is None:
            raise LabGone(Problem(f"lab {self.name}", "not up", "a running lab"))
        return self._world

    def address(self, name: str) -> str:
        """The address of a place. SpecError for a name that was not given."""
        if name not in self._addresses:
            raise SpecError(
                Problem(f"lab {self.name}", repr(name), f"one of {', '.join(self._addresses)}")
            )
        return self._addresses[name]

    def place(self, name: str) -> Place:
        """A namespace of the script as a place."""
        return Place(self, name, name, self.address(name))

    def __enter__(self) -> Foreign:
        self._world = foreign.start(self.name, self._script, self._arguments)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        world, self._world = self.world, None
        self.end_programs()
        lab.end(world)
