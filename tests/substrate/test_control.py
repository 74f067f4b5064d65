"""Messages between a command and a lab, without a lab."""

from __future__ import annotations

import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from emulator.errors import PodwireError
from emulator.substrate import control
from emulator.substrate.runtime import World


class Later:
    """Something that the reader's version of the program does not have."""

    def __reduce__(self) -> tuple[object, ...]:
        return getattr, ("", "no_such_name")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World("one", tmp_path, os.getpid(), 0, False)


def test_a_message_of_another_version() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        control.send(ours, ("apply", Later()))
        control.send(ours, "next")
        with pytest.raises(PodwireError, match=r"no_such_name.*expected one of this version"):
            control.receive(theirs)
        assert control.receive(theirs) == "next"


def test_a_full_queue_is_waited_for(world: World) -> None:
    with control.listen(world.folder) as listener:
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(str(world.folder / control.SOCKET))
            with pytest.raises(PodwireError, match=r"no answer within 0\.1 s"):
                control.ask(world, "facts", timeout_s=0.1)

            def serve() -> None:
                for _ in range(2):
                    link, _ = listener.accept()
                    with link:
                        if link.recv(1, socket.MSG_PEEK):
                            control.send(link, ("result", control.receive(link)))

            answering = threading.Timer(0.1, serve)
            answering.start()
            first.shutdown(socket.SHUT_WR)
            assert control.ask(world, "facts", timeout_s=10) == ("facts", ())
            answering.join()


def test_only_its_user_can_open_it_and_no_other_thread_learns_how(tmp_path: Path) -> None:
    """A umask would be of all threads, and stay with whoever asks for it in between."""
    before = os.umask(0o022)
    try:
        folders = [tmp_path / str(number) for number in range(40)]
        for folder in folders:
            folder.mkdir()
        with ThreadPoolExecutor(8) as threads:
            for listener in threads.map(control.listen, folders):
                listener.close()
        modes = {path.stat().st_mode & 0o777 for folder in folders for path in folder.iterdir()}
        assert modes == {0o600}
    finally:
        assert os.umask(before) == 0o022
