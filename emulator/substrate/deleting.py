"""Taking objects out of the namespaces of a lab."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Final

from emulator.plan.ovs import KINDS as OVS_KINDS
from emulator.plan.ovs import OvsDatapath, OvsVxlan
from emulator.plan.resources import (
    Addr,
    Bridge,
    Cutter,
    Dummy,
    Fdb,
    File,
    Fou,
    Geneve,
    Htb,
    Neigh,
    Netem,
    Netns,
    NftTable,
    Qdisc,
    Resource,
    Route,
    Rule,
    Sysctl,
    TcClass,
    TcFilter,
    Tun,
    Tunnel,
    Veth,
    Vxlan,
    Wireguard,
    WireguardPeer,
)
from emulator.plan.xfrm import XfrmPolicy, XfrmSa, XfrmState
from emulator.substrate import encode, fallback, fou, htb, meanwhile, netem, nft, ovs, shaper, xfrm
from emulator.substrate.namespaces import Namespaces
from emulator.substrate.netlink import Batch, Message, Netlink, Refusal, pack
from emulator.substrate.refusal import guard, refused
from emulator.substrate.sysctl import Sysctls
from emulator.substrate.wireguard import Controls

AT_ONCE: Final = 16
"""In so many namespaces tunnels are deleted at the same time."""

_Home = tuple[str, list[Resource]]
_Asked = list[tuple[Message, Resource]]
_DEVICES = (Bridge, Veth, Vxlan, Tun, Tunnel, Geneve, Dummy, Wireguard)


class Deleter:
    """Deletes objects of one lab, in the order in which they are given."""

    def __init__(self, spaces: Namespaces, sysctls: Sysctls, wireguards: Controls) -> None:
        self.spaces = spaces
        self._index = spaces.index
        self._sysctls = sysctls
        self._wireguards = wireguards

    def delete(self, gone: Iterable[Resource]) -> None:
        """KernelRefused with the first object that stays."""
        homes = [(ns, list(some)) for ns, some in groupby(gone, key=lambda r: r.ns)]
        for only_tunnels, some in groupby(homes, key=_only_tunnels):
            if only_tunnels:
                self._together(list(some))
            else:
                for ns, own in some:
                    self._send([(ns, self._carry_out(own))])
                    self._forget(ns, own)

    def _together(self, homes: list[_Home]) -> None:
        """For each tunnel the kernel waits until nobody can look at it any more: to wait in
        several namespaces at once takes little longer than in one.

        Not so for other devices: a cable that goes takes the tunnels of its other end along.
        """
        merged: dict[str, list[Resource]] = {}  # one socket must not serve two threads
        for ns, own in homes:
            merged.setdefault(ns, []).extend(own)
        tunnels = list(merged.items())
        for start in range(0, len(tunnels), AT_ONCE):
            some = tunnels[start : start + AT_ONCE]
            self._send([(ns, self._carry_out(own)) for ns, own in some])
            for ns, own in some:
                self._forget(ns, own)

    def _send(self, requests: list[tuple[str, _Asked]]) -> None:
        requests = [(ns, asked) for ns, asked in requests if asked]
        if not requests:
            return
        sockets = self.spaces.sockets([ns for ns, _ in requests])
        batches = [list(pack([message for message, _ in asked])) for _, asked in requests]
        if len(requests) == 1:
            answers = [_transact(sockets[0], batches[0])]
        else:
            try:
                with ThreadPoolExecutor(len(requests)) as threads:
                    answers = list(threads.map(_transact, sockets, batches))
            except RuntimeError as error:  # that is how Python says that there are too many
                raise OSError(errno.EAGAIN, f"{os.strerror(errno.EAGAIN)}: threads") from error
        for (ns, asked), sent, refusals in zip(requests, batches, answers, strict=True):
            if self.spaces.trace:
                for batch in sent:
                    self.spaces.trace.netlink(ns, batch.buffer, [])
            for number, code, words in refusals[:1]:
                raise refused(asked[number][1], code, words)

    def _carry_out(self, gone: list[Resource]) -> _Asked:
        """What is no netlink message is done, what is one is returned."""
        asked: _Asked = []
        index = self._index
        for r in gone:
            if isinstance(r, _DEVICES):
                asked.append((encode.delete_device(r.ns, r.name, index), r))
            elif isinstance(r, OVS_KINDS):
                self.spaces.enter(r.ns)
                guard(r, lambda r=r: ovs.delete(r))  # type: ignore[misc]
            elif type(r) is Addr:
                asked.append((encode.addr(r, index, False), r))
            elif type(r) is Route:
                asked.append((encode.route(r, index, "delete"), r))
            elif type(r) is Rule:
                asked.append((encode.rule(r, index, False), r))
            elif type(r) is Neigh:
                asked.append((encode.neigh(r, index, False), r))
            elif type(r) is Fdb:
                asked.append((encode.fdb(r, index, False), r))
            elif type(r) is Qdisc:
                asked.extend((m, r) for m in shaper.qdisc(r, index, False))
            elif type(r) is Cutter:
                asked.append((shaper.cutter(r, index, False), r))
            elif type(r) is Netem:
                asked.append((netem.message(r, index, False), r))
            elif type(r) is Htb:
                asked.append((htb.root(r, index, False), r))
            elif type(r) is TcClass:
                asked.append((htb.class_(r, index, False), r))
            elif type(r) is TcFilter:
                asked.append((htb.filter_(r, index, False), r))
            elif type(r) is WireguardPeer:
                self.spaces.enter(r.ns)
                self._wireguards.remove([r])
            elif type(r) is NftTable:
                self.spaces.enter(r.ns)
                guard(r, lambda r=r: nft.run(f"delete table {r.family} {r.name}"))  # type: ignore[misc]
            elif type(r) is Sysctl:
                guard(r, lambda r=r: self._give_back(r))  # type: ignore[misc]
            elif type(r) is Fou:
                self.spaces.enter(r.ns)
                guard(r, lambda r=r: fou.delete(r))  # type: ignore[misc]
            elif type(r) is File:
                self.spaces.file(r.ns, r.path).unlink(missing_ok=True)
            elif type(r) in (XfrmPolicy, XfrmState, XfrmSa):
                guard(r, lambda r=r: self._unprotect(r))  # type: ignore[misc]
        return asked

    def _unprotect(self, r: Resource) -> None:
        with self.spaces.other_socket(r.ns, xfrm.PROTOCOL) as socket:
            if type(r) is XfrmSa:  # a daemon may remove its own meanwhile: then it is gone as well
                socket.send(xfrm.removals(r, socket))
                return
            for _, number, words in socket.send([xfrm.message(r, "delete")]):
                raise OSError(number, words or os.strerror(number))

    def _give_back(self, r: Sysctl) -> None:
        os.close(meanwhile.namespace())  # a fresh one to look at, gone when the thread leaves it
        self._sysctls.learn_birth([r])
        self.spaces.enter(r.ns)
        self._sysctls.give_back(r)

    def _forget(self, ns: str, gone: list[Resource]) -> None:
        for r in gone:
            if isinstance(r, (*_DEVICES, OvsDatapath, OvsVxlan)):
                self.spaces.unlearn(r.ns, r.name)
            if type(r) is Tunnel and r.fallback:
                fallback.give_back(self.spaces, r)
            if type(r) is Veth:
                self.spaces.unlearn(r.peer_ns, r.peer)
            if type(r) is Netns:
                self.spaces.forget(ns)
                for _ in range(2):  # a program that still runs there may write meanwhile
                    shutil.rmtree(self.spaces.files / ns, ignore_errors=True)


def _only_tunnels(home: _Home) -> bool:
    return all(type(r) in (Vxlan, Tunnel, Geneve, Wireguard) for r in home[1])


def _transact(socket: Netlink, batches: list[Batch]) -> list[Refusal]:
    return [refusal for batch in batches for refusal in socket.transact(batch)]
