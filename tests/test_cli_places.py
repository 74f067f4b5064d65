"""The verbs exec, shell, cp, capture and cli, as every kind of caller."""

from __future__ import annotations

import json
import os
import signal
import struct
from pathlib import Path

import pytest
from callers import SPEC, Caller
from terminal import Terminal
from waiting import until

pytestmark = pytest.mark.kernel


@pytest.fixture
def lab(caller: Caller) -> Caller:
    """A caller whose lab is up."""
    caller.podwire("up", SPEC)
    return caller


@pytest.fixture
def weak(weakest: Caller) -> Caller:
    """The same of the least privileged."""
    weakest.podwire("up", SPEC)
    return weakest


def test_exec(lab: Caller) -> None:
    assert lab.podwire("exec", "n1-p1", "--", "hostname").stdout == "n1-p1\n"
    assert lab.podwire("exec", "n1", "--", "cat", stdin="hi\n" * 50_000).stdout == "hi\n" * 50_000
    for code in (1, 7, 255):
        lab.podwire("exec", "n1", "--", "sh", "-c", f"exit {code}", code=code)
    lab.podwire("exec", "n1", "--", "sh", "-c", "kill -TERM $$", code=128 + 15)
    both = lab.podwire("exec", "rack", "sh", "-c", "echo out; echo err >&2")
    assert (both.stdout, both.stderr) == ("out\n", "err\n")
    addresses = json.loads(lab.podwire("exec", "n2-p1", "--", "ip", "-j", "addr").stdout)
    assert [link["ifname"] for link in addresses] == ["lo", "eth0"]
    # not the machine's processes, but the lab's
    processes = lab.podwire("exec", "n1", "--", "sh", "-c", "echo /proc/[0-9]*").stdout
    assert "/proc/1 " in processes and len(processes.split()) < 10
    # a name in the lab's own place, whoever called
    assert lab.podwire("exec", "client", "--", "id", "-u").stdout == "0\n"
    unknown = lab.podwire("exec", "n1-p9", "--", "true", code=2)
    assert "did you mean n1-p" in unknown.stderr
    lab.podwire("exec", "n1", code=2)


def test_places_have_files_of_their_own(weak: Caller) -> None:
    for place in ("n1", "n1-p1"):
        weak.podwire("exec", place, "--", "sh", "-c", "echo $(hostname) > /var/lib/who")
    # of a place, and not of a program
    assert weak.podwire("exec", "n1", "--", "cat", "/var/lib/who").stdout == "n1\n"
    assert weak.podwire("exec", "n1-p1", "--", "cat", "/var/lib/who").stdout == "n1-p1\n"
    weak.podwire("exec", "n1-p2", "--", "cat", "/var/lib/who", code=1)


def test_ctrl_c_is_for_the_program(weak: Caller) -> None:
    program = "trap 'echo heard; exit 9' INT; echo begun; while :; do sleep 0.1; done"
    with Terminal(weak, weak.argv("exec", "n1", "--", "sh", "-c", program)) as terminal:
        terminal.expect("begun")
        terminal.send("\x03")
        terminal.expect("heard")
        assert terminal.end() == 9
    with Terminal(weak, weak.argv("exec", "n1-p1", "--", "sleep", "60")) as terminal:
        until(lambda: "sleep" in weak.processes().values(), "the program to run")
        terminal.send("\x03")
        assert terminal.end() == 128 + signal.SIGINT


def test_stopped_with_its_program(weak: Caller) -> None:
    with Terminal(weak, ["bash", "--norc", "-i"]) as t:
        t.send("PS1='out> '\n")
        t.expect("out> $")
        t.send(f"{' '.join(weak.argv('exec', 'n1', '--', 'sleep', '66'))}\n")
        until(lambda: "sleep" in weak.processes().values(), "the program to run")
        t.send("\x1a")
        t.expect("Stopped.*\n.*out> $")
        t.send("fg\n")
        (sleep,) = [pid for pid, name in weak.processes().items() if name == "sleep"]
        until(lambda: "(sleep) T" not in Path(f"/proc/{sleep}/stat").read_text(), "it to go on")
        t.send("\x03")
        t.expect("out> $")
        t.send("echo code=$?\n")
        t.expect("code=130.*\n.*out> $")
        # who reads what is written keeps the terminal
        t.send(f"{' '.join(weak.argv('exec', 'n1', '--', 'hostname'))} | (cat; read x </dev/tty")
        t.send("; echo read=$x)\nwords\n")
        t.expect("read=words")
        t.send("exit 4\n")
        assert t.end() == 4


@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
def test_a_shell_that_controls_jobs_gives_the_terminal_back(lab: Caller, shell: str) -> None:
    with Terminal(lab, lab.argv("exec", "n1", "--", shell, "-i")) as t:
        t.expect(r"[#$] $")
        t.send("exit 5\n")
        assert t.end() == 5, t.seen
        assert "tty" not in t.seen, t.seen


def test_shell(lab: Caller) -> None:
    lab.env["SHELL"] = "/bin/bash"
    with Terminal(
        lab, ["sh", "-c", f"{' '.join(lab.argv('shell', 'n1-p1'))}; echo code=$?; cat"]
    ) as t:
        t.send("PS1='lab> '\n")
        t.expect("lab> $")
        t.send("echo $((40 + 2)) $(hostname)\n")
        t.expect("42 n1-p1")
        # job control works: Ctrl-C ends the job and not the shell
        t.send("sleep 77\n")
        until(lambda: "sleep" in lab.processes().values(), "the job to run")
        t.send("\x03")
        t.expect("lab> $")
        t.send("jobs; fg\n")
        t.expect("no such job")
        t.send("exit 3\n")
        t.expect("code=3")
        # and the terminal is the caller's again
        t.send("echoed\n")
        t.expect("echoed\r\nechoed")
        assert "no job control" not in t.seen


def test_cp(weak: Caller) -> None:
    source, back = weak.home / "source", weak.home / "back"
    data = os.urandom(300_000)
    source.write_bytes(data)
    weak.podwire("cp", str(source), "n1-p1:/tmp/")
    size = weak.podwire("exec", "n1-p1", "--", "stat", "-c", "%s", "/tmp/source").stdout
    assert size == "300000\n"
    weak.podwire("cp", "n1-p1:/tmp/source", str(back))
    assert back.read_bytes() == data
    weak.podwire("cp", "n1-p1:/etc/hostname", str(weak.home))
    assert "Read-only file system" in weak.podwire("cp", str(source), "n1:/etc/x", code=1).stderr
    assert "No such file" in weak.podwire("cp", "n1:/tmp/none", str(back), code=1).stderr
    assert "No such file" in weak.podwire("cp", "/nowhere/x", "n1:/tmp/x", code=2).stderr
    weak.podwire("cp", str(source), str(back), code=2)
    weak.podwire("cp", "n1:/tmp/a", "n2:/tmp/b", code=2)
    weak.podwire("cp", "n1:tmp/a", str(back), code=2)


def test_capture(lab: Caller) -> None:
    pings = ("exec", "n1-p1", "--", "ping", "-i", "0.05", "10.244.2.2")
    pinging = lab.start(lab.argv(*pings))
    text = lab.podwire("capture", "n1:flannel.1", "--count", "4")
    assert text.stdout.count("ICMP echo") == 4
    file = lab.home / "packets.pcap"
    lab.podwire("capture", "n1:flannel.1", "--count", "4", "-w", str(file), "icmp[0]=8")
    assert _packets(file.read_bytes()) == 4
    seen = lab.start(lab.argv("capture", "n2:cni0", "--count", "3", "-w", "-"), text=False)
    assert _packets(seen.communicate(timeout=20)[0]) == 3
    outer = lab.podwire("capture", "n1:eth0", "--count", "2", "udp", "port", "8472")
    assert "VXLAN" in outer.stdout or ".8472: OTV" in outer.stdout
    pinging.kill()
    pinging.communicate(timeout=20)

    for quiet in (["-w", str(file)], []):
        lab.podwire("capture", "n1:eth0", "--seconds", "0.3", *quiet, "port", "9")
    assert _packets(file.read_bytes()) == 0
    assert "No such device" in lab.podwire("capture", "n1:eth7", code=1).stderr
    assert "No such device" in lab.podwire("capture", "n1:eth7", "-w", str(file), code=1).stderr
    assert "syntax error" in lab.podwire("capture", "n1:eth0", "what", "is", code=1).stderr
    lab.podwire("capture", "n1", code=2)
    lab.podwire("capture", "n1:eth0", "-w", "/nowhere/x", code=2)


def test_capture_ended_by_ctrl_c_keeps_its_packets(weak: Caller) -> None:
    file = weak.home / "packets.pcap"
    with Terminal(weak, weak.argv("capture", "n1:cni0", "-w", str(file), "icmp")) as terminal:
        until(lambda: "tcpdump" in weak.processes().values(), "tcpdump to run")
        until(lambda: file.exists() and file.stat().st_size >= 24, "the head of the file")
        weak.podwire("exec", "n1-p1", "--", "ping", "-c", "2", "-i", "0.1", "10.244.1.1")
        terminal.send("\x03")
        assert terminal.end() == 0, terminal.seen
    assert _packets(file.read_bytes()) == 4


def _packets(pcap: bytes) -> int:
    """The number of packets of a pcap file."""
    assert struct.unpack_from("=I", pcap)[0] == 0xA1B2C3D4
    at, count = 24, 0
    while at < len(pcap):
        at += 16 + struct.unpack_from("=I", pcap, at + 8)[0]
        count += 1
    assert at == len(pcap)
    return count


def test_mininet_command_line(lab: Caller) -> None:
    with Terminal(lab, lab.argv("cli")) as t:

        def say(line: str, *answers: str) -> None:
            t.expect("mininet> $")
            t.send(f"{line}\n")
            for answer in answers:
                t.expect(answer, 30)

        say("nodes", "client gateway n1 n1-p1 n1-p2 n2 n2-p1 n2-p2 outside rack\r\n")
        say("net", "n1-p1 eth0:n1-veth")
        say("n1-p1 ping -c1 n2-p1", "1 received, 0% packet loss")
        say("links", r"n1-eth0<->rack-eth2 \(OK OK\)")
        say("n1-p1 sleep 77")
        until(lambda: "sleep" in lab.processes().values(), "the command to run")
        t.send("\x03")
        say("pingall", r"Results: 0% dropped \(12/12 received\)")
        say("link n1 rack down")
        say("n2 ping -c1 -W1 n1", "0 received, .*100% packet loss")
        say("link n1 rack up")
        say("n2 ping -c1 -W1 n1", "1 received, 0% packet loss")
        say("py n1.name + '!'", "n1!")
        say("exit")
        assert t.end() == 0, t.seen
        assert "Traceback" not in t.seen and "rror" not in t.seen
    until(lambda: len(lab.processes()) == 1, "the shells of the places to end")
    # what was done by hand is told, not taken back: the routes of n1 went with its link
    told = lab.podwire("verify", code=1).stdout
    assert "missing: n1 route" in told
    lab.podwire("apply", SPEC)
    lab.podwire("verify")


def test_mininet_commands_from_a_pipe(weak: Caller) -> None:
    said = weak.podwire("cli", stdin="n1 hostname\nclient hostname\n").stderr
    assert "n1\n" in said and "client\n" in said, said


def test_labs_files_are_not_the_callers(lab: Caller) -> None:
    assert not Path("/run/netns/n1-p1").exists()
