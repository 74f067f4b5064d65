"""The connections of a Weave router to all others, by TCP: who is there, and nothing more.

Of two routers the one with the greater name connects, again and again until the other answers.
Each says its name. A connection that ends says at once that its router has ended; one that is only
silent is given up after a minute.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial

PORT = 6783
_AGAIN_S = 0.25
_PATIENCE_S = 3.0
"""A connection that nobody answers is begun anew: the kernel's own pauses grow too long."""
_HEARTBEAT_S, _MISSED = 10, 6


class _Connection:
    """``peer`` is empty until it has said its name."""

    def __init__(self, link: socket.socket, peer: str, began: float) -> None:
        self.link = link
        self.dialled = peer
        self.peer = ""
        self.began = began
        self.said = b""


class Connections:
    """Of one router. ``changed`` is called whenever ``there`` has changed."""

    def __init__(self, ready: selectors.BaseSelector, changed: Callable[[], None]) -> None:
        self._ready, self._changed = ready, changed
        self._own = ""
        self._next = 0.0
        self._addresses: Mapping[str, str] = {}
        self._open: list[_Connection] = []
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("0.0.0.0", PORT))
        self._listener.listen(1024)
        self._listener.setblocking(False)
        ready.register(self._listener, selectors.EVENT_READ, self._accept)

    @property
    def there(self) -> frozenset[str]:
        """The names of the routers that are connected."""
        return frozenset(one.peer for one in self._open if one.peer)

    @property
    def complete(self) -> bool:
        """Whether all are."""
        return self.there >= self._addresses.keys()

    def want(self, own: str, addresses: Mapping[str, str]) -> None:
        """Be connected to these routers as ``own``, and to no others."""
        stays = own == self._own
        self._own, self._addresses = own, addresses
        for one in list(self._open):
            if not stays or (one.peer or one.dialled or own) not in addresses:
                self._close(one)
        self._next = 0.0

    def dial(self) -> float:
        """Begin the connections that are missing, now and then; seconds until the next time."""
        now = time.monotonic()
        if now < self._next:
            return self._next - now
        for one in list(self._open):
            if not one.peer and now - one.began > _PATIENCE_S:
                self._close(one)
        begun = self.there | {one.dialled for one in self._open}
        missing = [name for name in self._addresses if self._own > name and name not in begun]
        for name in missing:
            link = socket.socket()
            link.setblocking(False)
            link.connect_ex((self._addresses[name], PORT))
            self._add(_Connection(link, name, now), selectors.EVENT_WRITE)
        self._next = now + _AGAIN_S
        return _HEARTBEAT_S if self.complete else _AGAIN_S

    def _accept(self) -> None:
        link, _ = self._listener.accept()
        link.setblocking(False)
        one = _Connection(link, "", time.monotonic())
        self._add(one, selectors.EVENT_READ)
        self._say_name(one)

    def _add(self, one: _Connection, event: int) -> None:
        link = one.link
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _HEARTBEAT_S)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _HEARTBEAT_S)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _MISSED)
        self._open.append(one)
        self._ready.register(link, event, partial(self._step, one))

    def _step(self, one: _Connection) -> None:
        if one.dialled and not one.said and self._waiting(one):
            if one.link.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._close(one)
                return
            self._ready.modify(one.link, selectors.EVENT_READ, partial(self._step, one))
            self._say_name(one)
            return
        try:
            data = one.link.recv(64)
        except OSError:
            data = b""
        if not data:
            self._close(one)
            return
        one.said += data
        name, end, _ = one.said.partition(b"\n")
        if end and not one.peer:
            one.peer = name.decode(errors="replace")
            if one.peer not in self._addresses:
                self._close(one)
            else:
                self._changed()

    def _waiting(self, one: _Connection) -> bool:
        """Whether it is not yet known if the connection comes about."""
        return bool(self._ready.get_key(one.link).events & selectors.EVENT_WRITE)

    def _say_name(self, one: _Connection) -> None:
        try:
            one.link.send(f"{self._own}\n".encode())
        except OSError:
            self._close(one)

    def _close(self, one: _Connection) -> None:
        self._ready.unregister(one.link)
        one.link.close()
        self._open.remove(one)
        if one.peer:
            self._changed()
