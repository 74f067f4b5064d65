"""What is said to QEMU, against one that has said all its lines before it is asked."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

from emulator.bench.virtual.qmp import Gone, Monitor

GREETING = {"QMP": {"version": {}, "capabilities": []}}
DONE: dict[str, Any] = {"return": {}}


def moved(status: str) -> dict[str, Any]:
    return {"event": "MIGRATION", "data": {"status": status}}


class Qemu:
    """Its end of the socket."""

    def __init__(self) -> None:
        self.link, self._end = socket.socketpair()

    def says(self, *lines: dict[str, Any]) -> None:
        self._end.sendall(b"".join(json.dumps(line).encode() + b"\r\n" for line in lines))

    def monitor(self, *lines: dict[str, Any]) -> Monitor:
        """It has been greeted; ``lines`` are said already."""
        self.says(GREETING, DONE, *lines)
        return Monitor(self.link, 0.05)

    def heard(self) -> tuple[list[dict[str, Any]], list[int]]:
        """The commands that have come, and open files with them."""
        data, files, _, _ = socket.recv_fds(self._end, 1 << 16, 4)
        text, decoder, found = data.decode(), json.JSONDecoder(), []
        while text:
            one, at = decoder.raw_decode(text)
            found.append(one)
            text = text[at:]
        return found, files

    def ends(self) -> None:
        self._end.close()


@pytest.fixture
def qemu() -> Iterator[Qemu]:
    found = Qemu()
    yield found
    found.ends()
    found.link.close()


def test_it_is_greeted_and_answers(qemu: Qemu) -> None:
    monitor = qemu.monitor({"return": {"running": True}})
    assert monitor.ask("query-status", one=1) == {"running": True}
    assert qemu.heard()[0] == [
        {"execute": "qmp_capabilities", "arguments": {}},
        {"execute": "query-status", "arguments": {"one": 1}},
    ]


def test_a_refused_command_is_told_in_its_words(qemu: Qemu) -> None:
    monitor = qemu.monitor({"error": {"class": "GenericError", "desc": "no such thing"}})
    with pytest.raises(Gone, match=r"^cont: no such thing$"):
        monitor.ask("cont")


def test_an_event_before_the_answer_is_not_lost(qemu: Qemu) -> None:
    """QEMU may say so as soon as it begins, before it says that it does."""
    monitor = qemu.monitor({"event": "RESUME"}, {"event": "STOP", "data": {"n": 1}}, DONE)
    assert monitor.ask("cont") == {}
    assert monitor.until("STOP", 0.05) == {"n": 1}
    with pytest.raises(Gone, match="silent"):
        monitor.until("STOP", 0.05)


def test_a_machine_goes_into_an_open_file(qemu: Qemu) -> None:
    early, late = moved("setup"), [moved("active"), moved("completed")]
    monitor = qemu.monitor(DONE, DONE, DONE, early, DONE, *late)
    with tempfile.TemporaryFile() as file:
        monitor.migrate("migrate", file.fileno(), 0.05)
        commands, (got,) = qemu.heard()  # what comes with a file ends a read
        assert os.path.sameopenfile(got, file.fileno())
        os.close(got)
    said = [one["execute"] for one in (*commands, *qemu.heard()[0])]
    settings = ["migrate-set-capabilities", "migrate-set-parameters"]
    assert said == ["qmp_capabilities", *settings, "getfd", "migrate"]


@pytest.mark.parametrize("told", [{"error-desc": "No space left on device"}, {}])
def test_what_fails_says_why(qemu: Qemu, told: dict[str, str]) -> None:
    monitor = qemu.monitor(DONE, DONE, DONE, moved("failed"), DONE, {"return": told})
    with (
        tempfile.TemporaryFile() as file,
        pytest.raises(Gone, match=r"^migrate: (No space left on device|it failed)$"),
    ):
        monitor.migrate("migrate", file.fileno(), 0.05)


def test_half_a_line_is_none(qemu: Qemu) -> None:
    monitor = qemu.monitor()
    qemu._end.sendall(b'{"return": ')
    with pytest.raises(Gone, match="QEMU is silent"):
        monitor.ask("cont")


def test_one_that_says_nothing_is_given_up(qemu: Qemu) -> None:
    with pytest.raises(Gone, match="QEMU is silent"):
        Monitor(qemu.link, 0.05)


def test_one_that_has_ended_is_told(qemu: Qemu) -> None:
    monitor = qemu.monitor()
    qemu.ends()
    for act in (lambda: monitor.until("STOP", 0.05), lambda: monitor.ask("cont")):
        with pytest.raises(Gone, match="QEMU has ended"):
            act()
