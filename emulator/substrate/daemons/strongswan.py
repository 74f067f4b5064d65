"""strongSwan's ``charon``, told by VICI what flanneld tells it.

The settings are a file of JSON: ``secrets`` and ``connections``, as VICI's ``load-shared`` and
``load-conn`` take them. When the file changes, what is new in it is loaded and what is gone is
unloaded, as flanneld does with the leases that it watches. Ends when charon ends, and ends charon
where that refuses something.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import IO, Any, NoReturn

from vici import Session
from vici.exception import CommandException

_FOLDERS = "/usr/lib/ipsec:/usr/lib/strongswan:/usr/libexec/ipsec:/usr/libexec/strongswan"
"""Where distributions keep charon, which is in nobody's PATH."""

_SOCKET = "/run/charon.vici"
_PID_FILE = Path("/run/charon.pid")
_LOOK_S = 0.05
_AWAITED = {signal.SIGHUP, signal.SIGCHLD}


def run(arguments: Sequence[str]) -> NoReturn:
    """The daemon; its one argument is the path of the settings."""
    settings = Path(arguments[0])
    # one that was killed has left it, and its number may be that of another process now
    _PID_FILE.unlink(missing_ok=True)
    charon = subprocess.Popen([_program()], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert charon.stdout is not None
    copying = Thread(target=_copy, args=(charon.stdout,))
    copying.start()
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    code = _serve(charon, settings)
    copying.join()
    os._exit(code if code >= 0 else 128 - code)


def _serve(charon: subprocess.Popen[bytes], settings: Path) -> int:
    """The code that it ends with."""
    session = _connected(charon)
    told = Told()
    while session is not None and charon.poll() is None:
        try:
            told.follow(json.loads(settings.read_text()), session)
        except CommandException as refusal:
            print(f"charon refuses {told.telling}: {refusal}", flush=True)
            charon.terminate()
            charon.wait()
            return 1
        except OSError:  # it has ended while it was told
            break
        signal.sigwait(_AWAITED)
    return charon.wait()


class Told:
    """What charon knows. ``telling``: what it hears just now."""

    def __init__(self) -> None:
        self.telling = ""
        self._connections: dict[str, Any] = {}
        self._secrets: list[Any] = []

    def follow(self, settings: dict[str, Any], session: Session) -> None:
        """Tell it what is new. CommandException with charon's words."""
        wanted = settings["connections"]
        for name in self._connections.keys() - wanted.keys():
            self.telling = f"to unload {name}"
            session.unload_conn({"name": name})
            del self._connections[name]
        for secret in settings["secrets"]:
            if secret not in self._secrets:
                self.telling = f"the secret of {', '.join(secret['owners'])}"
                session.load_shared(secret)
                self._secrets.append(secret)
        for name, connection in wanted.items():
            if self._connections.get(name) != connection:
                self.telling = f"connection {name}"
                session.load_conn({name: connection})
                self._connections[name] = connection


def _connected(charon: subprocess.Popen[bytes]) -> Session | None:
    """A session as soon as charon takes one; None where it ends before."""
    pause = select.poll()
    while charon.poll() is None:
        link = socket.socket(socket.AF_UNIX)
        try:
            link.connect(_SOCKET)
        except (FileNotFoundError, ConnectionRefusedError):
            link.close()
            pause.poll(_LOOK_S * 1000)
        else:
            return Session(link)
    return None


def _copy(lines: IO[bytes]) -> None:
    """To our own output. By a pipe, for AppArmor lets charon write to no file that it inherits."""
    for line in lines:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


def _program() -> str:
    return shutil.which("charon", path=_FOLDERS) or "charon"
