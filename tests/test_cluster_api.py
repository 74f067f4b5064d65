"""The Python API: a cluster in a program, and what the program gets when it ends."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from callers import KINDS, SPEC, Caller, MakeCaller
from waiting import until

from emulator import Cluster
from emulator.errors import LabGone, PodwireError, SpecError, Unsupported

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def c(folder: Path) -> Iterator[Cluster]:
    """One cluster for the tests that leave it as it is."""
    with Cluster.from_file(SPEC) as cluster:
        yield cluster


def _children() -> set[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return set(map(int, text.split()))


def _descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def test_first_steps(c: Cluster) -> None:
    pings = c.pod("n1-p1").ping("n2-p1", count=3, interval_s=0.05)
    assert pings.received == 3 and pings.loss_ratio == 0.0
    assert pings.rtt_min_us is not None and pings.rtt_p50_us is not None
    assert 0 < pings.rtt_min_us <= pings.rtt_p50_us <= 1_000_000
    assert c.verify().good
    lost = c.node("n1").ping("192.168.50.200", count=1)
    assert lost.loss_ratio == 1.0 and lost.rtt_p50_us is None
    assert c.pod("n1-p1").run(["hostname"]).stdout == b"n1-p1\n"
    for place, wrong in ((c.pod, "n1"), (c.node, "n1-p1"), (c.host, "n1"), (c.place, "x")):
        with pytest.raises(SpecError):
            place(wrong)


def test_mininet_view(c: Cluster) -> None:
    assert c.inside(lambda net: net.pingAll()) == 0.0
    assert c.inside(lambda net: [h.name for h in net.hosts]) == ["n1-p1", "n1-p2", "n2-p1", "n2-p2"]
    assert c.inside(lambda net: net.get("client").cmd("hostname").strip()) == "client"
    assert c.inside(lambda net: net["n1"].popen("hostname").communicate()[0].strip()) == b"n1"
    with pytest.raises(Unsupported, match="podwire apply"):
        c.inside(lambda net: net.addHost("h9"))
    rates = c.inside(lambda net: net.iperf((net["n1-p1"], net["n2-p1"]), seconds=1))
    assert len(rates) == 2 and all(rate.endswith("bits/sec") for rate in rates)
    slow = c.inside(lambda net: net.iperf(l4Type="UDP", udpBw="5M", seconds=1))
    assert slow[0] == "5M" and slow[2].endswith(" Mbits/sec")
    assert c.inside(_in_a_thread) == ["1"]
    assert c.verify(probes=False).good


def _in_a_thread(net: Any) -> list[str]:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(str(os.getpid() > 1 and 1)))
    thread.start()
    thread.join()
    assert Path("/proc/self/status").exists()
    return found


def test_mininet_without_its_programs(c: Cluster) -> None:
    def without(net: Any) -> None:
        os.environ["PATH"] = "/nonexistent"
        net.iperf()

    with pytest.raises(Unsupported, match="apt-get install iperf3"):
        c.inside(without)


def test_what_goes_wrong_inside_comes_back(c: Cluster) -> None:
    pid = os.getpid()
    with pytest.raises(PodwireError, match=r"ZeroDivisionError"):
        c.inside(lambda net: 1 / 0)
    with pytest.raises(PodwireError, match=r"[Pp]ickle"):
        c.inside(lambda net: lambda: None)
    with pytest.raises(PodwireError, match="SystemExit"):
        c.inside(lambda net: exit(3))
    with pytest.raises(PodwireError, match="a helper process died"):
        c.inside(lambda net: os.kill(os.getpid(), signal.SIGKILL))
    assert os.getpid() == pid


def test_ctrl_c_inside_ends_the_work(c: Cluster) -> None:
    before = _children()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        c.inside(lambda net: time.sleep(60))
    timer.join()
    assert _children() == before


def test_programs(c: Cluster) -> None:
    pod = c.pod("n1-p1")
    running = pod.start(["sh", "-c", "echo out; echo err >&2; exec sleep 60"])
    assert running.poll() is None
    with pytest.raises(PodwireError, match=r"still running after 0\.2 s"):
        running.wait(0.2)
    assert running.poll() == -signal.SIGKILL
    # what a program leaves behind does not hold up who waits for it
    begun = time.monotonic()
    done = pod.run(["sh", "-c", "echo first; (sleep 40) & exit 5"], timeout_s=20)
    assert (done.returncode, done.stdout) == (5, b"first\n") and time.monotonic() - begun < 10
    # what is killed takes with it what it has started
    parent = pod.start(["sh", "-c", "sleep 86401 & sleep 86402"])
    until(lambda: len(_sleepers("8640")) == 2, "both to run")
    parent.kill()
    until(lambda: not _sleepers("8640"), "both to end")
    much = pod.run(["sh", "-c", "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2"])
    assert len(much.stdout) == len(much.stderr) == 3_000_000
    assert pod.run(["sh", "-c", "echo $A"], env={"A": "b"}).stdout == b"b\n"
    cpu = min(os.sched_getaffinity(0))
    assert pod.run(["nproc"], cpus=[cpu]).stdout == b"1\n"
    with pytest.raises(Unsupported, match="not installed"):
        pod.run(["no-such-program"])
    with pytest.raises(PodwireError, match="Permission denied"):
        pod.run(["/etc/passwd"])


def _sleepers(prefix: str) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] == b"sleep" and words[1].decode().startswith(prefix):
            found.append(folder.name)
    return found


def test_files_counters_sockets(c: Cluster) -> None:
    pod = c.pod("n2-p2")
    pod.write_file("/tmp/x", b"\0data")
    assert pod.read_file("/tmp/x") == b"\0data"
    with pytest.raises(PodwireError, match="No such file"):
        pod.read_file("/tmp/none")
    before = pod.counters("eth0")["tx_packets"]
    pod.ping("n1-p1", count=2, interval_s=0.05)
    assert pod.counters("eth0")["tx_packets"] >= before + 2
    with pytest.raises(PodwireError, match="no interface 'eth9'"):
        pod.counters("eth9")
    assert not pod.listening("tcp", 7001)
    server = pod.start(
        ["python3", "-c", "import socket as s; x = s.create_server(('', 7001)); input()"]
    )
    server.kill()
    assert pod.snmp()["Ip.InReceives"] > 0


def test_long_programs_leak_nothing(c: Cluster) -> None:
    c.pod("n1-p1").run(["true"])
    c.inside(lambda net: None)
    descriptors, children = _descriptors(), _children()
    for turn in range(100):
        c.place(("n1-p1", "n1", "client", "rack")[turn % 4]).run(["true"])
    for _ in range(5):
        c.inside(lambda net: None)
        c.facts()
        c.verify(probes=False)
        with pytest.raises(Unsupported):
            c.node("n1").run(["no-such-program"])
        with pytest.raises(PodwireError):
            c.node("n1").run(["sleep", "9"], timeout_s=0.01)
    assert _descriptors() == descriptors
    assert _children() == children


def test_labs_leave_neither_children_nor_descriptors(folder: Path) -> None:
    descriptors, children = _descriptors(), _children()
    for turn in range(3):
        with Cluster.from_file(SPEC, name="second") as cluster:
            cluster.node("n1").run(["true"])
        with pytest.raises(LabGone):
            cluster.world  # noqa: B018
        kept = Cluster.from_file(SPEC, name=f"kept-{turn}")
        kept.up(keep=True)
        Cluster.attach(f"kept-{turn}").down()
    assert _descriptors() == descriptors
    assert _children() == children


def test_two_of_one_name(c: Cluster, folder: Path) -> None:
    descriptors, children = _descriptors(), _children()
    with pytest.raises(SpecError, match="a running lab of that name"):
        Cluster.from_file(SPEC).up()
    with pytest.raises(PodwireError, match="up already"):
        c.up()
    for name in ("../x", "A", "", "lock/x", ".lock", "-x"):
        with pytest.raises(SpecError, match="name of the lab"):
            other = Cluster.from_file(SPEC)
            other.name = name
            other.up()
    assert c.verify(probes=False).good
    assert (_descriptors(), _children()) == (descriptors, children)


def test_attach(c: Cluster) -> None:
    other = Cluster.attach()
    assert other.name == c.name and other.spec == c.spec
    assert other.plan.text() == c.plan.text()
    assert other.pod("n1-p1").run(["hostname"]).stdout == b"n1-p1\n"
    with other:
        pass
    assert c.world.alive(), "who only attached does not end it"
    with pytest.raises(LabGone, match="running labs: flannel-vxlan"):
        Cluster.attach("other")


def test_killed_lab_is_told(folder: Path) -> None:
    descriptors, children = _descriptors(), _children()
    cluster = Cluster.from_file(SPEC, name="killed")
    cluster.up()
    os.kill(cluster.world.pid, signal.SIGKILL)
    until(lambda: not cluster.world.alive(), "its end")
    for action in (
        cluster.facts,
        cluster.verify,
        lambda: cluster.pod("n1-p1").run(["true"]),
        lambda: cluster.inside(lambda net: None),
        lambda: cluster.pod("n1-p1").read_file("/etc/hostname"),
    ):
        with pytest.raises(LabGone):
            action()
    cluster.down()
    assert (_descriptors(), _children()) == (descriptors, children)


def test_lab_of_a_thread_lives_as_long_as_the_process(folder: Path) -> None:
    cluster = Cluster.from_file(SPEC, name="of-a-thread")
    thread = threading.Thread(target=cluster.up)
    thread.start()
    thread.join()
    time.sleep(0.05)
    assert cluster.verify(probes=False).good
    cluster.down()


ENDS = """
import os, signal, sys
from emulator import Cluster
cluster = Cluster.from_file(sys.argv[1])
with cluster as c:
    running = c.pod("n1-p1").start(["sleep", "60"])
    print("up", flush=True)
    {how}
"""


@pytest.mark.parametrize(
    "how",
    [
        "os.kill(os.getpid(), signal.SIGKILL)",
        "os._exit(0)",
        "sys.exit(0)",
        "raise KeyError",
        "pass",
    ],
)
def test_lab_ends_with_its_program(how: str, make_caller: MakeCaller) -> None:
    caller = make_caller(KINDS[-1] if "KILL" in how else KINDS[0])
    program = ["-c", ENDS.format(how=how), SPEC]
    ended = caller.start([*caller.argv()[:1], *program])
    out, err = ended.communicate(timeout=30)
    assert out == "up\n"
    assert ended.returncode == {"pass": 0, "sys.exit(0)": 0, "os._exit(0)": 0}.get(
        how, 1 if "raise" in how else -signal.SIGKILL
    )
    assert ("Traceback" in err) == ("raise" in how)
    until(lambda: not caller.processes(), f"an end of {caller.processes()}", 2)
    caller.podwire("ls")
    assert caller.left() == []


def test_down_does_not_wait_for_a_stopped_command(make_caller: MakeCaller) -> None:
    caller: Caller = make_caller(KINDS[-1])
    caller.podwire("up", SPEC)
    used = caller.start(caller.argv("exec", "n1", "--", "sleep", "60"))
    until(lambda: "sleep" in caller.processes().values(), "the program to run")
    used.send_signal(signal.SIGSTOP)
    said = caller.podwire("down").stdout
    assert float(said.split("(")[1].split(" s")[0]) < 5
    assert "sleep" not in caller.processes().values()
    caller.podwire("up", SPEC)
    used.send_signal(signal.SIGCONT)
    assert used.wait(timeout=10) == 128 + signal.SIGKILL


def test_lab_holds_nothing_of_who_started_it(make_caller: MakeCaller) -> None:
    caller: Caller = make_caller(KINDS[0])
    r, w = os.pipe()
    os.set_inheritable(w, True)
    started = caller.start(caller.argv("up", SPEC), pass_fds=[w], cwd="/tmp")
    os.close(w)
    assert started.wait(timeout=30) == 0
    assert os.read(r, 1) == b"", "a pipe that the lab holds would not end"
    os.close(r)
    (pid,) = caller.supervisors()
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    held = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    assert not [name for name in held if name.startswith("pipe:")]
