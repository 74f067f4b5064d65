"""Weave's router as far as its fast datapath is concerned: it writes the flows of one datapath.

A frame that no flow takes comes here; what becomes of it is decided (``weave_bridge``), done, and
written as a flow for all that are like it: known by where it came in and by its MAC addresses, in a
tunnel by that as well. Every five minutes the flows go that nobody has used since. They all go at
the start, when a port comes or goes, when another router does, with other settings, and when an
address is suddenly at another peer. When the router ends its own flows stay; it is the others that
no longer send to it nor listen.

Other than the original's, this one is told its peers: by a file, read again on SIGHUP, of which a
copy says that it is in force and that all others are there, or have had time to come::

    datapath datapath
    name 7e:11:00:00:00:01 291 192.168.50.11
    peer 7e:11:00:00:00:02 7 192.168.50.12

after each name the short number and the address.
"""

from __future__ import annotations

import errno
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from emulator.substrate import ovs
from emulator.substrate.daemons.weave_bridge import Bridge, Peer
from emulator.substrate.daemons.weave_peers import Connections
from emulator.substrate.generic import Generic

_FLOWS_S, _MACS_S = 300.0, 600.0
_COME_S = 10.0
"""So long the others may take until the settings are said to be in force without them."""
_HEAD = 20
"""Of netlink and of the family, before the body of a message."""
_ROOM_B = 4 << 20
_SO_RCVBUFFORCE = 33


class Settings(NamedTuple):
    """``own`` is this router, ``datapath`` the name of the one whose flows it writes."""

    datapath: str
    own: Peer
    peers: tuple[Peer, ...]


def settings(text: str) -> Settings:
    """From the file. ValueError."""
    datapath, own, peers = "", None, []
    for row in text.splitlines():
        word, *values = row.partition("#")[0].split() or [""]
        if word == "datapath" and len(values) == 1:
            datapath = values[0]
        elif word in ("name", "peer") and len(values) == 3:
            peer = Peer(values[0], int(values[1]), socket.inet_aton(values[2]))
            if word == "name":
                own = peer
            else:
                peers.append(peer)
        elif word:
            raise ValueError(f"not understood: {row}")
    if not datapath or own is None:
        raise ValueError("wants datapath and name")
    return Settings(datapath, own, tuple(peers))


class Router:
    """One datapath's flows."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._ask, self._misses, self._news = Generic(), Generic(), Generic()
        for one in (self._misses, self._news):
            one.socket.bind((0, 0))
            one.socket.setblocking(False)
        try:
            self._misses.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM_B)
        except PermissionError:  # without root it is what the machine allows everybody
            self._misses.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM_B)
        self._ask.family(ovs.FLOW)
        self._news.listen(ovs.VPORT, ovs.VPORT)
        self._packet = self._misses.family(ovs.PACKET).number
        self._settings: Settings | None = None
        self._datapath: ovs.Datapath | None = None
        self._bridge: Bridge | None = None
        self._ready = selectors.DefaultSelector()
        self._connections = Connections(self._ready, self._peers_changed)
        self._unconfirmed = ""
        self._patience = 0.0

    def run(self, woken: int) -> NoReturn:
        """For ever. ``woken``: readable after SIGHUP."""

        def hangup() -> None:
            os.read(woken, 4096)
            self._read_settings()

        for source, heard in (
            (woken, hangup),
            (self._misses.socket, self._take_misses),
            (self._news.socket, self._hear_news),
        ):
            self._ready.register(source, selectors.EVENT_READ, heard)
        self._read_settings()
        flows, macs = (time.monotonic() + seconds for seconds in (_FLOWS_S, _MACS_S))
        while True:
            again = self._connections.dial()
            self._confirm()
            wait = max(0.0, min(flows - time.monotonic(), macs - time.monotonic(), again))
            for key, _ in self._ready.select(wait):
                key.data()
            now = time.monotonic()
            if now >= flows:
                self._expire(now)
                flows = now + _FLOWS_S
            if now >= macs and self._bridge:
                self._bridge.age()
                macs = now + _MACS_S

    def _read_settings(self) -> None:
        try:
            text = self._path.read_text()
            self._settings = settings(text)
        except (OSError, ValueError) as error:
            _say(f"{self._path}: {error}")
            return
        own, peers = self._settings.own, self._settings.peers
        self._connections.want(own.name, {p.name: socket.inet_ntoa(p.address) for p in peers})
        self._take_over()
        self._unconfirmed, self._patience = text, time.monotonic() + _COME_S

    def _confirm(self) -> None:
        """Say that the settings are in force, once; whole at once, for whoever waits for it."""
        late = time.monotonic() >= self._patience
        if self._unconfirmed and (late or self._connections.complete):
            fresh = self._path.with_name(f"{self._path.name}.active.new")
            fresh.write_text(self._unconfirmed)
            fresh.replace(self._path.with_name(f"{self._path.name}.active"))
            self._unconfirmed = ""

    def _peers_changed(self) -> None:
        there = self._connections.there
        _say(f"connected: {' '.join(sorted(there)) or 'nobody'}")
        if self._bridge and self._datapath:
            self._bridge.connected(there)
            self._try(self._datapath.flush)

    def _take_over(self) -> None:
        """Begin anew with the datapath as it is, if it is there."""
        if self._settings is None:
            return
        self._datapath = self._bridge = None
        try:
            found = ovs.Datapath(self._ask, self._settings.datapath)
            ports = found.ports()
            found.listen(ports, self._misses.port)
            found.flush()
        except OSError as error:
            _say(f"{self._settings.datapath}: {error.strerror}")
            return
        tunnels = [port.number for port in ports if port.type == ovs.VXLAN]
        inside = [port.number for port in ports if port.type in (ovs.NETDEV, ovs.INTERNAL)]
        self._datapath = found
        if tunnels:
            own, peers = self._settings.own, self._settings.peers
            self._bridge = Bridge(own, peers, inside, tunnels[0])
            self._bridge.connected(self._connections.there)
        _say(f"{self._settings.datapath}: {len(ports)} ports, {len(self._settings.peers)} peers")

    def _hear_news(self) -> None:
        """What we set at ports ourselves is told as well."""
        told = [body[0] for _, body in _messages(self._news.socket)]
        if ovs.NEW in told or ovs.DEL in told:
            self._take_over()

    def _take_misses(self) -> None:
        for kind, body in _messages(self._misses.socket):
            if kind == self._packet and body[0] == ovs.MISS:
                self._miss(body[4:])

    def _miss(self, body: bytes) -> None:
        if self._bridge is None or self._datapath is None:
            return
        datapath = self._datapath
        frame, words, key = ovs.read_miss(body)
        found = self._bridge.decide(key, time.monotonic())
        if found.invalid:
            self._try(datapath.flush)
        if found.actions:
            self._try(lambda: datapath.execute(frame, words, found.actions))
        if found.flow:
            self._try(lambda: datapath.add(key, found.actions))

    def _expire(self, now: float) -> None:
        """Remove flows that are not used; those that are say where addresses still are."""
        datapath, bridge = self._datapath, self._bridge
        if datapath is None or bridge is None:
            return
        try:
            flows = datapath.flows()
        except OSError as error:
            _say(f"flows: {error.strerror}")
            return
        for flow in flows:
            if flow.used:
                bridge.decide(flow.key, now)
                self._try(lambda flow=flow: datapath.clear(flow))  # type: ignore[misc]
            else:
                self._try(lambda flow=flow: datapath.remove(flow.key))  # type: ignore[misc]

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except OSError as error:  # a port or the flow may have gone meanwhile
            if error.errno not in (errno.ENODEV, errno.ENOENT):
                _say(f"datapath: {error.strerror}")


def _messages(reader: socket.socket) -> Iterator[tuple[int, bytes]]:
    """All that has come: the number of each one's family, and what follows netlink's head."""
    while True:
        try:
            data = reader.recv(1 << 17)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            _say("more than can be read: frames are lost")
            continue
        at = 0
        while at + _HEAD <= len(data):
            size = int.from_bytes(data[at : at + 4], "little")
            yield int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 16 : at + size]
            at += size + 3 & ~3


def run(arguments: Sequence[str]) -> NoReturn:
    """The daemon. It is ended from outside."""
    (path,) = arguments
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGHUP, lambda number, frame: None)
    Router(path).run(reader)


def _say(text: str) -> None:
    print(text, flush=True)
