"""Verbs on bench ``vm``: the same command, run in the guest; and ``vm``, the guest itself.

A command line that is to run elsewhere goes there word by word: its paths are the same there.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import emulator
from emulator.bench import guest as guests
from emulator.bench import session, trouble
from emulator.bench.agent import HOLD
from emulator.bench.frames import Order
from emulator.bench.machine import SURROUNDINGS
from emulator.errors import LabGone, Problem, SpecError
from emulator.patience import EMULATED, VARIABLE
from emulator.patience import bench as facts_of_bench
from emulator.substrate import compiler
from emulator.verbs.output import as_json

_MODULES = (
    "emulator.cli",
    "emulator.verbs.labs",
    "emulator.verbs.places",
    "emulator.verbs.specs",
    "emulator.verbs.ending",
    "emulator.cluster",
    "emulator.spec.loading",
    "emulator.spec.resolve",
    "emulator.cni.flannel",
)
"""What the agent loads before it is asked."""
_HERE = ("PODWIRE_RUN", "PODWIRE_ON", "XDG_RUNTIME_DIR", "TMPDIR", "PATH")
"""Settings that mean something on the host alone."""
_INTERACTIVE = ("exec", "shell", "cli", "vm")
MAKING = ("up", "run", "doctor")
"""Verbs that need no lab to be there."""
_STARTING_S = 60.0

Write = Callable[[int, bytes], None]


def in_guest() -> bool:
    """Whether this program runs in the guest itself."""
    return bool(facts_of_bench())


def forward(arguments: argparse.Namespace, words: Sequence[str], write: Write | None = None) -> int:
    """Run this command line in the guest; its code. One that makes or asks something starts a guest
    if there is none: LabGone for the others, which are about what is there already."""
    if arguments.verb == "down" and arguments.all:
        return end_labs()
    paths = _paths(arguments)
    return run(
        words, call="emulator.cli:main",
        see=[place for path in paths for place in (os.path.dirname(path), path)],
        write=_written(arguments), stdin=arguments.verb in _INTERACTIVE, output=write,
        boot=arguments.verb in MAKING,
    )  # fmt: skip


def run(
    words: Sequence[str],
    *,
    call: str = "",
    see: Sequence[str] = (),
    write: Sequence[str] = (),
    stdin: bool = False,
    output: Write | None = None,
    boot: bool = False,
) -> int:
    """Run a program, or with ``call`` a function, in the guest. See :class:`Order`.

    Where no guest runs ``boot`` starts one; otherwise LabGone.
    """
    cwd = os.getcwd()
    folders = _python_folders()
    cache = str(compiler.made_cache())
    terminal = stdin_is_terminal() and os.isatty(1) and os.isatty(2) and output is None
    order = Order(
        mark="", argv=list(words), call=call, cwd=cwd, env={},
        see=list({place for one in [*folders, cwd, cache, *see, *write] for place in _places(one)}),
        write=[os.path.realpath(one) for one in [cache, *write]],
        window=session.window() if terminal else None,
    )  # fmt: skip
    deadline = time.monotonic() + _STARTING_S
    while True:
        found = guests.find()
        try:
            if found is not None:
                _mind(found)
                return _run(found, order, stdin, lambda: None, output)
            if not boot:
                raise LabGone(
                    Problem("bench vm", "no guest runs", "a lab in it", "podwire up SPEC --on vm")
                )
            return _first(order, folders, stdin, output)
        except trouble.NotBegun:  # it was about to leave
            continue
        except guests.Taken:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _places(path: str) -> list[str]:
    """What a path names, and what it leads to where that is something else."""
    return list(dict.fromkeys([os.path.abspath(path), os.path.realpath(path)]))


def _mind(guest: guests.Guest) -> None:
    """Say what a guest that runs has otherwise than this command asks for."""
    for setting, name in (("PODWIRE_VM_KERNEL", "kernel"), ("PODWIRE_VM_MEMORY", "memory_mib")):
        asked, has = os.environ.get(setting), guest.facts.get(name)
        if asked and (os.path.abspath(asked) if name == "kernel" else asked) != has:
            _say(f"bench vm: the guest that runs has {has}: for {setting} first podwire vm down")


def stdin_is_terminal() -> bool:
    """Whether standard input is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def _first(order: Order, folders: Sequence[str], stdin: bool, output: Write | None) -> int:
    """Start the guest, with this command as its first."""
    started, link = guests.start(_MODULES, folders, _say)
    with link:
        how = "KVM" if started.facts["accelerator"] == "kvm" else "emulated: right, not fast"
        _say(f"bench vm: booting a guest ({how}) …")

        def begun() -> None:
            with suppress(OSError):  # it has ended: that will be heard
                link.send(b"r")
            _say("bench vm: the guest is up")

        return _run(started, order, stdin, begun, output)


def _run(
    guest: guests.Guest,
    order: Order,
    stdin: bool,
    begun: Callable[[], None],
    output: Write | None,
) -> int:
    env = {name: value for name, value in os.environ.items() if name not in _HERE}
    env |= {VARIABLE: as_json(guest.facts), "PATH": _path(), **SURROUNDINGS}
    order = order._replace(mark=secrets.token_hex(16), env=env)
    return session.run(guest, order, stdin=stdin, begun=begun, output=output or session.to_stdio)


def _path() -> str:
    return os.pathsep.join(
        [*filter(None, os.environ.get("PATH", "").split(os.pathsep)), "/usr/sbin", "/sbin"]
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _python_folders() -> list[str]:
    """Where this Python and its modules are."""
    ours = os.path.dirname(os.path.dirname(emulator.__file__))
    found = [ours, sys.prefix, sys.base_prefix, *filter(os.path.isdir, sys.path)]
    return list(dict.fromkeys(map(os.path.abspath, found)))


def _paths(arguments: argparse.Namespace) -> list[str]:
    """Files of the host that a command line names."""
    named = [getattr(arguments, name, None) for name in ("spec", "source", "target", "results")]
    # PLACE:/path is in a lab
    return [os.path.abspath(one) for one in named if one and ":" not in one.partition("/")[0]]


def _written(arguments: argparse.Namespace) -> list[str]:
    """Folders of the host that the command writes to."""
    if arguments.verb == "capture" and arguments.write not in (None, "-"):
        return [os.path.dirname(os.path.abspath(arguments.write))]
    if arguments.verb == "cp" and ":" not in arguments.target.partition("/")[0]:
        target = os.path.abspath(arguments.target)
        return [target if os.path.isdir(target) else os.path.dirname(target)]
    if arguments.verb == "run" and arguments.results:
        os.makedirs(arguments.results, exist_ok=True)
        return [os.path.abspath(arguments.results)]
    return []


def labs() -> list[dict[str, object]]:
    """The labs in the guest, if one runs, as rows of ``podwire ls``."""
    heard = bytearray()
    try:
        if run(["ls", "-o", "json"], call="emulator.cli:main", output=hearing(heard)):
            return []
    except LabGone:
        return []
    rows: list[dict[str, object]] = json.loads(heard)
    return [{**row, "bench": "vm"} for row in rows]


def has_speed() -> bool:
    """Whether what takes time in the guest says something of speed. Unsupported without one."""
    return guests.accelerator(_say) != EMULATED


def end_labs() -> int:
    """End all labs of the guest, if one runs; the code of ``podwire down --all`` there."""
    if in_guest():
        return 0
    try:
        return run(["down", "--all"], call="emulator.cli:main")
    except LabGone:
        return 0


def hearing(heard: bytearray) -> Write:
    """Keep standard output; what is said beside it goes where it belongs."""

    def hear(fd: int, part: bytes) -> None:
        if fd == 1:
            heard.extend(part)
        else:
            session.to_stdio(fd, part)

    return hear


def vm_(arguments: argparse.Namespace) -> int:
    """The guest itself: up, down, status, exec."""
    if in_guest():
        raise SpecError(Problem("podwire vm", "the guest itself", "the host", "type it there"))
    action = arguments.action
    if action == "exec":
        words = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
        if not words:
            raise SpecError(
                Problem("vm exec", "no command", "one after --", "podwire vm exec -- uname -a")
            )
        return run(words, write=[os.getcwd()], stdin=True, boot=True)
    found = guests.find()
    if action == "up":
        code = run(["touch", str(HOLD)], boot=True)
        if not code:
            _say("the guest stays until 'podwire vm down'")
        return code
    if found is None:
        print("no guest runs")
        return 0
    if action == "down":
        guests.end(found)
        print("the guest is down")
        return 0
    for name, value in found.facts.items():
        print(f"{name:<12} {value}")
    print(f"{'console':<12} {found.console}")
    return 0
