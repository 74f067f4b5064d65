"""The guest of bench ``vm``, as its user meets it. One boot serves nearly all of it.

Emulated, a boot takes half a minute on a quiet machine.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from callers import KINDS, SPEC, Caller
from terminal import Terminal
from waiting import until

from emulator.bench import guest, machine, session, trouble

pytestmark = pytest.mark.vm

BOOT_S = 300.0


def made(folder: Path) -> Caller:
    """The most privileged caller there is, with the kernel of this one."""
    return Caller(KINDS[0], folder, env={"PODWIRE_VM_KERNEL": str(machine.kernel().image)})


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """Somebody whose guest stays until the end of this module."""
    with ExitStack() as stack:
        caller = made(tmp_path_factory.mktemp("vm") / "caller")
        stack.callback(caller.podwire, "vm", "down", code=None)
        caller.podwire("vm", "up", timeout_s=BOOT_S)
        yield caller


def in_guest(host: Caller, *words: str, code: int = 0, stdin: str = "") -> str:
    return host.podwire("vm", "exec", "--", *words, code=code, stdin=stdin, timeout_s=120).stdout


def qemu(host: Caller) -> list[int]:
    return [pid for pid, name in host.processes().items() if name.startswith("qemu")]


def test_streams_and_code(host: Caller) -> None:
    ended = host.podwire(
        "vm", "exec", "--", "sh", "-c", "echo out; echo err >&2; exit 7", code=7, timeout_s=60
    )
    assert (ended.stdout, ended.stderr) == ("out\n", "err\n")
    assert in_guest(host, "cat", stdin="from here\n") == "from here\n"
    assert "no-such-program" in host.podwire("vm", "exec", "no-such-program", code=127).stderr


def test_much_is_copied_whole(host: Caller) -> None:
    text = "".join(f"{i:07d}\n" for i in range(100_000))
    assert in_guest(host, "cat", stdin=text) == text


def test_it_is_the_machine_that_is_pinned(host: Caller) -> None:
    assert in_guest(host, "uname", "-r").strip() == machine.kernel().version
    said = host.podwire("vm", "status").stdout
    assert machine.MACHINE in said and machine.CPU in said
    assert (
        in_guest(host, sys.executable, "-c", "import numpy; print(numpy.ones(2) @ [1, 1])")
        == "2.0\n"
    )
    ended = host.podwire("vm", "exec", "--", "sh", "-c", "kill -ILL $$", code=1, timeout_s=60)
    assert "an instruction that its CPU has not" in ended.stderr


def test_every_feature_works_there(host: Caller) -> None:
    rows = json.loads(host.podwire("doctor", "-o", "json", "--on", "vm", timeout_s=180).stdout)
    here = {row["what"]: row for row in rows if row["what"].startswith(("kernel: ", "modes: "))}
    assert [name for name, row in here.items() if not row["good"]] == []
    assert "kernel: tun" in here


def test_a_lab_lives_there(host: Caller, tmp_path: Path) -> None:
    """The verbs of a lab find it, and files go to where they would go here."""
    with tempfile.NamedTemporaryFile(suffix=".yaml") as spec:  # in a folder that the guest has too
        spec.write(Path(SPEC).read_bytes())
        spec.flush()
        host.podwire("up", spec.name, "--name", "there", "--on", "vm", timeout_s=180)
    host.podwire("down", "there", timeout_s=60)
    host.podwire("up", SPEC, "--name", "there", "--on", "vm", timeout_s=180)
    assert "there" in host.podwire("ls", "--on", "vm", timeout_s=60).stdout
    assert "good" in host.podwire("verify", "--lab", "there", timeout_s=120).stdout
    assert "flannel.1" in host.podwire("exec", "--lab", "there", "n1", "--", "ip", "link").stdout
    (tmp_path / "in").write_text("some words")
    host.podwire("cp", "--lab", "there", str(tmp_path / "in"), "n1-p1:/tmp/x")
    host.podwire("cp", "--lab", "there", "n1-p1:/tmp/x", str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "some words"
    host.podwire(
        "capture", "--lab", "there", "n1:eth0", "-w", str(tmp_path / "p.pcap"), "--seconds", "1",
        code=None, timeout_s=60,
    )  # fmt: skip
    assert (tmp_path / "p.pcap").stat().st_size >= 24
    with Terminal(host, host.argv("capture", "--lab", "there", "n1:eth0")) as terminal:
        terminal.expect("listening on eth0", 60)
        terminal.send("\x03")
        terminal.expect("packets? captured", 60)
        terminal.end(60)
    with Terminal(host, host.argv("shell", "--lab", "there", "n1")) as terminal:
        terminal.expect(r"[#$] ", 60)
        terminal.send("stty size; ls /sys/class/net | tr '\\n' ' '; exit 5\n")
        terminal.expect(r"\d+ \d+", 60)
        terminal.expect("cni0", 60)
        assert terminal.end(60) == 5, terminal.seen
    assert "there is down" in host.podwire("down", "--all", timeout_s=60).stdout
    until(lambda: "Z" not in in_guest(host, "ps", "-eo", "stat"), "the dead are buried", 60)
    assert "there" not in host.podwire("ls", timeout_s=60).stdout


def test_interrupted_commands_end_there(host: Caller) -> None:
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        started = host.start(host.argv("vm", "exec", "--", "sh", "-c", "echo on; exec sleep 1000"))
        assert started.stdout is not None and started.stdout.readline() == "on\n"
        started.send_signal(number)
        assert started.wait(60) == code
        started.stdout.close()
        until(lambda: not in_guest(host, "sh", "-c", "pidof sleep || true").strip(), "gone", 60)


def test_as_many_commands_as_there_are_ports(host: Caller) -> None:
    words = host.argv("vm", "exec", "--", "sh", "-c", "echo on; exec sleep 1000")
    running = [host.start(words) for _ in range(machine.PORTS)]
    try:
        for one in running:
            assert one.stdout is not None and one.stdout.readline() == "on\n"
        said = host.podwire("vm", "exec", "true", code=1).stderr
        assert f"{machine.PORTS} commands run in it" in said
    finally:
        for one in running:
            one.kill()
            one.communicate()


def test_memory_that_is_used_up(host: Caller) -> None:
    program = "x = [bytearray(1 << 24) for _ in range(1000)]"
    ended = host.podwire("vm", "exec", "python3", "-c", program, code=1, timeout_s=240)
    assert "out of memory" in ended.stderr and "PODWIRE_VM_MEMORY=4096" in ended.stderr
    assert in_guest(host, "echo", "still there") == "still there\n"


def test_a_panic_ends_it(host: Caller) -> None:
    """The last test of this guest."""
    crash = "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger"
    said = host.podwire("vm", "exec", "--", "sh", "-c", crash, code=1, timeout_s=120).stderr
    assert "its kernel panicked" in said and "| " in said
    until(lambda: not qemu(host), "QEMU gone", 20)
    assert host.podwire("vm", "status").stdout == "no guest runs\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_who_gives_up_while_booting_leaves_nothing(number: int, tmp_path: Path) -> None:
    host = made(tmp_path / "caller")
    started = host.start(host.argv("vm", "exec", "true"))
    until(lambda: qemu(host), "QEMU runs", 60)
    started.send_signal(number)
    started.communicate(timeout=20)
    until(lambda: not host.processes(), "nothing is left", 20)
    assert host.podwire("vm", "status").stdout == "no guest runs\n"


def test_one_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped before it has said a word."""
    host = made(tmp_path / "caller")
    monkeypatch.setenv("PODWIRE_RUN", str(host.run))
    monkeypatch.setenv("PODWIRE_VM_KERNEL", host.env["PODWIRE_VM_KERNEL"])
    monkeypatch.setattr(session, "BOOT_S", 1.0)
    started, link = guest.start([], [], lambda text: None)
    with link:
        (pid,) = until(lambda: qemu(host) or _held(started), "QEMU runs", 20)
        os.kill(pid, signal.SIGSTOP)
        error = trouble.silent(started, 1.0)
        with pytest.raises(type(error), match="no answer for 1 s"):
            session.run(started, _nothing(), stdin=False, begun=lambda: None)
    until(lambda: not Path(f"/proc/{pid}").exists(), "QEMU gone", 20)


def _held(started: guest.Guest) -> list[int]:
    """QEMU's process id as its keeper has written it down."""
    try:
        return [int((started.folder / "qemu").read_text().split()[1])]
    except OSError:
        return []


def _nothing() -> session.Order:
    return session.Order("m", ["true"], "", "/", {}, [], [], None)
