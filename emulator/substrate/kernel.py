"""The running kernel behind two verbs: apply operations, observe the same resources."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from secrets import token_bytes

from emulator.plan import Op
from emulator.plan.resources import Key, Resource
from emulator.secrets import SEED_B, Secrets
from emulator.substrate import decode, rtnl
from emulator.substrate.applying import Applier
from emulator.substrate.namespaces import Namespaces, Trace
from emulator.substrate.netlink import Message, attr
from emulator.substrate.observing import Observer
from emulator.substrate.sysctl import Sysctls


class Kernel:
    """Namespaces of one lab. To be used from one thread of the process that holds them."""

    def __init__(
        self,
        names: Path,
        files: Path,
        trace: Trace | None = None,
        secrets: Secrets | None = None,
    ) -> None:
        """``names``: where namespaces get a name (``/run/netns``); ``files``: where each
        namespace's own files lie; ``secrets``: what words of the plan stand for, drawn now
        unless given."""
        self.spaces = Namespaces(names, files, trace)
        self.secrets = secrets or Secrets(token_bytes(SEED_B))
        self._sysctls = Sysctls()
        self._applier = Applier(self.spaces, self._sysctls, self.secrets)
        self._observer = Observer(self.spaces, self._sysctls, self.secrets)
        self.enter = self.spaces.enter
        self.leave = self.spaces.leave
        self.adopt = self.spaces.adopt

    @property
    def fds(self) -> dict[str, int]:
        """The descriptor of each namespace by its name."""
        return self.spaces.fds

    def after_fork(self) -> None:
        """In a forked child: sockets are not shared with the parent, whose replies they'd steal."""
        self.spaces.close_sockets()
        self._sysctls.use_own_procfs()

    def fresh_procfs_at(self, folder: Path) -> None:
        """Write sysctls through fresh procfs mounts (needs a mount namespace of our own)."""
        self._sysctls.refresh_at(folder)

    def close(self) -> None:
        """Let every namespace go; the kernel removes what nobody else holds."""
        self.spaces.close()

    def apply(self, ops: Sequence[Op], progress: Callable[[int, int], None] | None = None) -> None:
        """Carry out operations (without processes, which the supervisor keeps).

        KernelRefused with the resource and the kernel's words; what was done until then
        stays. ``progress`` hears (done, all) now and then.
        """
        self.spaces.fresh.clear()
        try:
            self._applier.apply(ops, progress or (lambda done, total: None))
        finally:
            self.spaces.close_sockets()
            self.spaces.leave()

    def observe(
        self, known: Iterable[Resource], only: Collection[str] | None = None
    ) -> dict[Key, Resource]:
        """All state of all namespaces as resources, derived state left out.

        ``known`` says which sysctls and files to read (those of a plan); links, addresses,
        routes, tables and qdiscs are read whole, whoever made them. ``only``: look into these
        namespaces and no others.
        """
        try:
            return {r.key: r for r in self._observer.observe(known, only)}
        finally:
            self.spaces.close_sockets()
            self.spaces.leave()

    def flush_neighbours(self, ns: str) -> None:
        """Remove the learnt neighbour entries of a namespace (permanent ones stay)."""
        socket = self.spaces.socket(ns)
        messages = [
            Message(
                rtnl.RTM_DELNEIGH,
                0,
                decode.NDMSG.pack(family, 0, index, 0, 0, 0) + attr(rtnl.NDA_DST, address),
            )
            for family, index, address in decode.dynamic_neighbours(
                socket.dump(rtnl.RTM_GETNEIGH, bytes(12))
            )
        ]
        if messages:
            # one may have aged away since the dump: a refusal is as good as a removal
            socket.send(messages)
