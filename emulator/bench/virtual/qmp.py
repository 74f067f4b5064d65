"""What is said to QEMU while it runs, over a socket. (QEMU, docs/interop/qmp-spec.txt.)"""

from __future__ import annotations

import json
import select
import socket
import time
from typing import Any, Final

_UNLIMITED_B_S: Final = 1 << 40
"""QEMU writes at 128 MiB/s otherwise, for the sake of a network."""


class Gone(Exception):
    """QEMU has ended, is silent, or refuses."""


class Monitor:
    """QEMU's monitor behind a socket; ``patience_s`` for each of its answers."""

    def __init__(self, link: socket.socket, patience_s: float) -> None:
        self._link, self._patience_s, self._heard = link, patience_s, b""
        self._events: list[dict[str, Any]] = []
        self._told(time.monotonic() + patience_s)  # its greeting
        self.ask("qmp_capabilities")

    def ask(self, command: str, *files: int, **arguments: Any) -> Any:
        """Carry out a command; what it returns. ``files``: open files that it is given."""
        words = {"execute": command, "arguments": arguments}
        try:
            socket.send_fds(self._link, [json.dumps(words).encode()], files)
        except OSError as error:
            raise Gone(f"QEMU has ended ({error.strerror})") from error
        deadline = time.monotonic() + self._patience_s
        while True:
            told = self._told(deadline)
            if "error" in told:
                raise Gone(f"{command}: {told['error'].get('desc')}")
            if "return" in told:
                return told["return"]
            if "event" in told:
                self._events.append(told)

    def until(self, event: str, patience_s: float) -> dict[str, Any]:
        """The next event of that name, also one that came before an answer; its data."""
        deadline = time.monotonic() + patience_s
        told: dict[str, Any] = {}
        while told.get("event") != event:
            told = self._events.pop(0) if self._events else self._told(deadline)
        data: dict[str, Any] = told.get("data", {})
        return data

    def migrate(self, command: str, file: int, patience_s: float) -> None:
        """Write the machine into an open file (``migrate``), or take it up from there
        (``migrate-incoming``), and wait until that is done."""
        capability = {"capability": "events", "state": True}
        self.ask("migrate-set-capabilities", capabilities=[capability])
        self.ask("migrate-set-parameters", **{"max-bandwidth": _UNLIMITED_B_S})
        self.ask("getfd", file, fdname="moment")
        self.ask(command, uri="fd:moment")
        deadline = time.monotonic() + patience_s
        status = ""
        while status != "completed":
            status = self.until("MIGRATION", deadline - time.monotonic())["status"]
            if status == "failed":
                why = self.ask("query-migrate").get("error-desc", "it failed")
                raise Gone(f"{command}: {why}")

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
