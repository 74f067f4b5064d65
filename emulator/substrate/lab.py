"""Starting a lab: a supervisor in namespaces of its own, which dies with everything in it.

The caller forks twice: the first child makes the namespaces, the second is process 1 of
the new PID namespace and becomes the supervisor. Until the lab is up both are bound to
the life of the caller; a lab that is to stay lets go of them then.
"""

from __future__ import annotations

import os
import pickle
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from emulator.errors import PodwireError, Problem
from emulator.substrate import libc, privilege, runtime
from emulator.substrate.runtime import World
from emulator.substrate.sandbox import FILES, NAMES, PROCFS

Body = Callable[["Start"], None]
"""The supervisor's own work: builds the lab, calls ``ready``, serves until told to end."""


class Start:
    """What the supervisor is given: where it is, and how to tell the caller."""

    def __init__(self, folder: Path, control: socket.socket, report: int, keep: bool) -> None:
        self.folder = folder
        self.control = control
        self.null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self.log = os.open(
            folder / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        self.began = time.perf_counter()
        self._report = report
        self._keep = keep

    def progress(self, done: int, total: int) -> None:
        """Tell the caller how far building is."""
        _send(self._report, ("progress", (done, total)))

    def ready(self, facts: dict[str, Any]) -> None:
        """The lab is up. A lab that is to stay no longer dies with its maker from here on."""
        if self._keep:
            libc.die_with_parent(0)
        _send(self._report, ("ready", facts))
        os.close(self._report)


def start(
    name: str,
    body: Body,
    *,
    keep: bool,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[World, dict[str, Any]]:
    """Start a lab and wait until it is up. Returns it and the facts that ``ready`` was told.

    ``keep``: it outlives this process. PodwireError (of the lab's own, too): nothing is left.
    """
    folder, lock = runtime.claim(name)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    how = privilege.level()
    maker = 0
    up = False
    try:
        _bind(control, folder)
        sys.stdout.flush()
        sys.stderr.flush()
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        report_r, report_w = os.pipe()
        maker = os.fork()
        if maker == 0:
            mine.close()
            os.close(report_r)
            _make_world(folder, control, report_w, theirs, how, body, keep)
        theirs.close()
        os.close(report_w)
        pid = _converse(mine, maker, how)
        facts = _listen(report_r, progress)
        world = runtime.describe(folder, name, pid, how != "root")
        # told only now, so that a lab whose maker is killed before this line is gone
        mine.sendall(b"k" if keep else b"s")
        mine.close()
        if keep:
            os.waitpid(maker, 0)
        up = True
        return world, facts
    finally:
        control.close()
        os.close(lock)
        if not up:
            if maker:
                _kill(maker)
            runtime.forget(World(name, folder, 0, 0, False))


def _bind(control: socket.socket, folder: Path) -> None:
    before = os.umask(0o177)
    try:
        control.bind(str(folder / "control.sock"))
        control.listen(16)
    except OSError as error:
        raise PodwireError(
            Problem(
                f"{folder}/control.sock",
                error.strerror or str(error),
                "a control socket",
                "set XDG_RUNTIME_DIR to a directory with a short path"
                if "too long" in str(error)
                else "",
            )
        ) from error
    finally:
        os.umask(before)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def end(world: World, timeout_s: float = 10.0) -> None:
    """Kill a lab and wait until nothing of it is left to see; the kernel frees the rest later.

    PodwireError when it does not die within the deadline.
    """
    try:
        fd = os.pidfd_open(world.pid)
    except ProcessLookupError:
        fd = -1
    if fd >= 0:
        try:
            if world.alive():
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            with selectors.DefaultSelector() as selector:
                selector.register(fd, selectors.EVENT_READ)
                if not selector.select(timeout_s):
                    raise PodwireError(
                        Problem(
                            f"lab {world.name}",
                            f"process {world.pid} alive {timeout_s:g} s after SIGKILL",
                            "its end",
                            "is it stuck in the kernel? see dmesg",
                        )
                    )
        except ProcessLookupError:
            pass
        finally:
            os.close(fd)
    runtime.forget(world)


# --- the caller's side ------------------------------------------------------------------


def _converse(link: socket.socket, maker: int, how: privilege.Level) -> int:
    """Map the ids of the maker's user namespace when it asks; returns the supervisor's pid."""
    while True:
        word = link.recv(1)
        if word == b"m":
            try:
                privilege.map_ids(maker, how)
            except subprocess.CalledProcessError as error:
                words = error.stderr.decode().strip()
                raise privilege.refusal("newuidmap", OSError(1, words)) from error
            except OSError as error:
                raise privilege.refusal("mapping ids", error) from error
            link.sendall(b"m")
        elif word == b"p":
            return int.from_bytes(_exactly(link, 4), "little")
        elif word == b"e":
            number = int.from_bytes(_exactly(link, 4), "little")
            step = link.recv(256).decode()
            raise privilege.refusal(step, OSError(number, os.strerror(number)))
        else:
            raise PodwireError(
                Problem("starting the lab", "its maker died", "a supervisor", "try again")
            )


def _exactly(link: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = link.recv(count - len(data))
        if not more:
            break
        data += more
    return data


def _listen(fd: int, progress: Callable[[int, int], None] | None) -> dict[str, Any]:
    with os.fdopen(fd, "rb") as stream:
        while True:
            try:
                kind, value = pickle.load(stream)
            except EOFError:
                raise PodwireError(
                    Problem(
                        "starting the lab",
                        "the supervisor died",
                        "a lab",
                        "was it killed, or the memory short? see dmesg",
                    )
                ) from None
            if kind == "progress":
                if progress:
                    progress(*value)
            elif kind == "error":
                raise value
            else:
                facts: dict[str, Any] = value
                return facts


def _send(fd: int, message: object) -> None:
    data = pickle.dumps(message)
    while data:
        data = data[os.write(fd, data) :]


# --- the maker and the supervisor -------------------------------------------------------


def _make_world(
    folder: Path,
    control: socket.socket,
    report: int,
    link: socket.socket,
    how: privilege.Level,
    body: Body,
    keep: bool,
) -> NoReturn:
    """In the first child: make the namespaces, then the supervisor inside them."""
    step = "files"
    try:
        begun = Start(folder, control, report, keep)
        libc.die_with_parent()
        os.setsid()
        if how != "root":
            step = "a user namespace"
            libc.unshare(libc.CLONE_NEWUSER)
            link.sendall(b"m")
            if link.recv(1) != b"m":
                os._exit(1)
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            libc.die_with_parent()  # changing ids has cleared it
        step = "network, mount and PID namespaces"
        libc.unshare(
            libc.CLONE_NEWNS
            | libc.CLONE_NEWNET
            | libc.CLONE_NEWPID
            | libc.CLONE_NEWUTS
            | libc.CLONE_NEWIPC
        )
        step = "the supervisor"
        pid = os.fork()
    except OSError as error:
        link.sendall(b"e" + (error.errno or 0).to_bytes(4, "little") + step.encode())
        os._exit(1)
    if pid == 0:
        link.close()
        _supervise(begun, report, body)
    os.close(report)
    control.close()
    link.sendall(b"p" + pid.to_bytes(4, "little"))
    word = link.recv(1)
    if word == b"k":
        os._exit(0)
    if word == b"s":
        # stands between caller and lab for the lab's whole life: it dies with the caller,
        # and the lab with it
        os.waitpid(pid, 0)
    os._exit(0)


def _supervise(begun: Start, report: int, body: Body) -> NoReturn:
    """As process 1 of the lab: private mounts, then the supervisor's work. Never returns."""
    code = 1
    try:
        libc.die_with_parent()
        libc.set_name("podwire-lab")
        # /dev/null and the log come from the host's mounts: a file open for writing below
        # one of our own would keep it from becoming read-only
        os.dup2(begun.null, 0)
        os.dup2(begun.log, 1)
        os.dup2(begun.log, 2)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        private_mounts()
        libc.sethostname("podwire")
        body(begun)
        code = 0
    except PodwireError as error:
        _tell(report, error)
    except OSError as error:
        _tell(
            report,
            PodwireError(
                Problem(
                    f"supervisor: {error.filename or 'system call'}",
                    error.strerror or str(error),
                    "the lab to start",
                )
            ),
        )
    except Exception:  # the one place: a fault of ours must reach the caller and the log
        import traceback

        traceback.print_exc()
        _tell(report, PodwireError(f"supervisor: {traceback.format_exc()}"))
    os._exit(code)


def _tell(report: int, error: PodwireError) -> None:
    try:
        _send(report, ("error", error))
    except OSError:
        sys.stderr.write(f"{error}\n")


def private_mounts() -> None:
    """Own /proc, /sys and /run; the host's files read-only. OSError names the mount."""
    libc.mount("none", "/", "", libc.MS_REC | libc.MS_PRIVATE)
    libc.make_read_only("/")
    quiet = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC
    libc.mount("proc", "/proc", "proc", quiet)
    libc.mount("sysfs", "/sys", "sysfs", quiet)
    for place, mode in (("/run", "755"), ("/tmp", "1777")):
        libc.mount("tmpfs", place, "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, f"mode={mode}")
    for folder in (NAMES, FILES, PROCFS):
        folder.mkdir(parents=True)
