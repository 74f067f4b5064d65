"""The host's end of a command, with a socket in place of a guest."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from waiting import until

from emulator.bench import frames, session, trouble
from emulator.bench.frames import Kind, Order
from emulator.bench.guest import Guest

ORDER = Order("m" * 32, ["true"], "", "/", {}, [], [], None)
Talk = Callable[[socket.socket, frames.Reader], None]


@contextmanager
def guest(folder: Path, talk: Talk) -> Iterator[Guest]:
    """One that takes a command and then does as it is told, in a thread."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "port-0"))
    server.listen()

    def serve() -> None:
        link, _ = server.accept()
        with link:
            reader = frames.Reader()
            assert next_frame(link, reader)[0] == Kind.START
            link.sendall(frames.mark(ORDER.mark))
            talk(link, reader)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        with closing(server):
            yield Guest(folder, {"memory_mib": "2048"})
    finally:
        os.close(lock)


def next_frame(link: socket.socket, reader: frames.Reader) -> tuple[int, bytes]:
    while True:
        for one in reader:
            return one
        reader.feed(link.recv(1 << 16))


def host(guest: Guest, said: Path, stdin: int | None = None) -> int:
    """A process that asks; what came of it is in the file ``said``."""
    child = os.fork()
    if child == 0:
        try:
            if stdin is not None:
                os.dup2(stdin, 0)
            try:
                code = session.run(guest, ORDER, stdin=stdin is not None, begun=lambda: None)
                said.write_text(f"code {code}")
            except BaseException as error:
                said.write_text(f"{type(error).__name__}: {error}")
        finally:
            os._exit(0)
    return child


def answer(child: int, said: Path) -> str:
    until(lambda: os.waitpid(child, os.WNOHANG)[0], "an end", 30)
    return said.read_text()


def test_a_guest_that_ends_while_it_is_sent_input(tmp_path: Path) -> None:
    """An end of the pipe to it, and not one to whom output goes."""

    def leave(link: socket.socket, reader: frames.Reader) -> None:
        assert next_frame(link, reader)[0] == Kind.STDIN

    with guest(tmp_path, leave) as one, open("/dev/zero", "rb") as zeros:
        said = answer(host(one, tmp_path / "said", zeros.fileno()), tmp_path / "said")
    assert said.startswith("Ended: the guest: found it was ended"), said


def test_input_waits_for_room(tmp_path: Path) -> None:
    sent: list[int] = []

    def take_late(link: socket.socket, reader: frames.Reader) -> None:
        count = 0
        while count < frames.ROOM_B:
            count += len(next_frame(link, reader)[1])
        link.settimeout(0.2)
        with pytest.raises(TimeoutError):
            next_frame(link, reader)
        link.settimeout(None)
        link.sendall(frames.frame(Kind.TAKEN, struct.pack("=I", 10)))
        sent.append(len(next_frame(link, reader)[1]))
        link.sendall(frames.frame(Kind.EXIT, struct.pack("=i", 3)))

    with guest(tmp_path, take_late) as one, open("/dev/zero", "rb") as zeros:
        said = answer(host(one, tmp_path / "said", zeros.fileno()), tmp_path / "said")
    assert (said, sent) == ("code 3", [10])


@pytest.mark.parametrize("answers", [True, False])
def test_silence_is_the_guests_and_not_ours(
    answers: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("_ASK_S", 0.1), ("_SILENT_S", 1.0), ("_LOOK_S", 0.02)):
        monkeypatch.setattr(session, name, seconds)
    asked = threading.Event()

    def talk(link: socket.socket, reader: frames.Reader) -> None:
        end = time.monotonic() + 5.0
        while time.monotonic() < end:
            assert next_frame(link, reader)[0] == Kind.PING
            asked.set()
            if answers:
                link.sendall(frames.frame(Kind.PONG))
        link.sendall(frames.frame(Kind.EXIT, struct.pack("=i", 0)))

    with guest(tmp_path, talk) as one:
        child = host(one, tmp_path / "said")
        assert asked.wait(10)
        os.kill(child, signal.SIGSTOP)
        time.sleep(2.0)  # longer than a guest may be silent
        os.kill(child, signal.SIGCONT)
        said = answer(child, tmp_path / "said")
    assert said == "code 0" if answers else "no answer for 1 s" in said


def test_all_ports_taken_and_a_guest_that_has_left(tmp_path: Path) -> None:
    one = Guest(tmp_path / "gone", {})
    with pytest.raises(trouble.NotBegun):
        session.run(one, ORDER, stdin=False, begun=lambda: None)
    held = [os.open(tmp_path / f"busy-{n}", os.O_RDWR | os.O_CREAT) for n in range(8)]
    for fd in held:
        fcntl.flock(fd, fcntl.LOCK_EX)
    with pytest.raises(session.PodwireError, match="8 commands run in it"):
        session.run(Guest(tmp_path, {}), ORDER, stdin=False, begun=lambda: None)
    for fd in held:
        os.close(fd)
