"""What is said to QEMU while it runs, over a socket. (QEMU, docs/interop/qmp-spec.txt.)"""

from __future__ import annotations

import json
import select
import socket
import time
from typing import Any


class Gone(Exception):
    """QEMU has ended, is silent, or refuses."""


class Monitor:
    """QEMU's monitor behind a socket; ``patience_s`` for each of its answers."""

    def __init__(self, link: socket.socket, patience_s: float) -> None:
        self._link, self._patience_s, self._heard = link, patience_s, b""
        self._told(time.monotonic() + patience_s)  # its greeting
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: Any) -> Any:
        """Carry out a command; what it returns."""
        words = {"execute": command, "arguments": arguments}
        try:
            self._link.sendall(json.dumps(words).encode())
        except OSError as error:
            raise Gone(f"QEMU has ended ({error.strerror})") from error
        deadline = time.monotonic() + self._patience_s
        while True:
            told = self._told(deadline)
            if "error" in told:
                raise Gone(f"{command}: {told['error'].get('desc')}")
            if "return" in told:
                return told["return"]

    def until(self, event: str, patience_s: float) -> dict[str, Any]:
        """Wait for an event; its data."""
        deadline = time.monotonic() + patience_s
        while (told := self._told(deadline)).get("event") != event:
            pass
        data: dict[str, Any] = told.get("data", {})
        return data

    def migrate(self, command: str, uri: str, patience_s: float) -> None:
        """Write the machine somewhere, or take it up from there, and wait until that is done."""
        capability = {"capability": "events", "state": True}
        self.ask("migrate-set-capabilities", capabilities=[capability])
        self.ask(command, uri=uri)
        deadline = time.monotonic() + patience_s
        status = ""
        while status != "completed":
            status = self.until("MIGRATION", deadline - time.monotonic())["status"]
            if status == "failed":
                raise Gone(f"{command} {uri.partition(':')[2]}: it failed")

    def _told(self, deadline: float) -> dict[str, Any]:
        while b"\n" not in self._heard:
            left_s = deadline - time.monotonic()
            if not select.select([self._link], [], [], max(0.0, left_s))[0]:
                raise Gone("QEMU is silent")
            try:
                more = self._link.recv(1 << 16)
            except OSError as error:
                raise Gone(f"QEMU has ended ({error.strerror})") from error
            if not more:
                raise Gone("QEMU has ended")
            self._heard += more
        line, _, self._heard = self._heard.partition(b"\n")
        told: dict[str, Any] = json.loads(line)
        return told
