"""Conflists run in a lab with the real binaries, and with some that misbehave."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from cni_binaries import PASS_ON, RELEASES, binary, conflist
from waiting import until

from emulator import Cluster
from emulator.errors import PodwireError, SpecError, Unsupported
from emulator.spec import load
from emulator.spec.resolved import ResolvedSpec

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[1]
BRIDGE = ROOT / "topologies/cni-bridge.yaml"


def spec(**network: object) -> ResolvedSpec:
    """Two nodes with a pod each, and what is said of the network."""
    changed = {f"spec.network.{key}": value for key, value in network.items()}
    return load(BRIDGE, {"spec.pods.perNode": 1, **changed})


@pytest.fixture(scope="module")
def c(folder: Path) -> Iterator[Cluster]:
    """A lab that every test leaves as it found it."""
    with Cluster(spec()) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def bare(folder: Path) -> Iterator[Cluster]:
    """A lab without pods, so that nothing has to be undone before something else is tried."""
    with Cluster(load(BRIDGE, {"spec.pods.perNode": 0}), "cni-bare") as cluster:
        yield cluster


@pytest.fixture
def bin_dir(tmp_path: Path) -> Path:
    """A folder of one's own binaries, where a node has files of its own: below /tmp."""
    return tmp_path


def journal(c: Cluster, node: str) -> list[str]:
    """The names in a node's journal."""
    done = c.node(node).run(["ls", "/var/lib/cni/results"])
    return done.stdout.decode().split()


def test_binaries_make_what_verify_then_expects(c: Cluster) -> None:
    assert c.verify().good
    assert c.inside(lambda net: net["n1-p1"].IP()) == "10.244.1.2"
    # the addresses that were predicted are those that host-local has given
    assert c.addressing.pod == {"n1-p1": "10.244.1.2", "n2-p1": "10.244.2.2"}
    (name,) = journal(c, "n1")
    record = json.loads(c.node("n1").read_file(f"/var/lib/cni/results/{name}"))
    assert (record["kind"], record["ifName"], record["netns"]) == (
        "cniCacheV1", "eth0", "/run/netns/n1-p1",
    )  # fmt: skip
    assert record["result"]["ips"][0]["address"] == "10.244.1.2/24"
    # each node has state of its own, and the host none of it
    assert journal(c, "n2") != journal(c, "n1")
    named = c.node("n1").run(["ip", "netns"]).stdout.decode()
    assert named.split()[0] == "n1-p1" and "n2-p1" not in named
    assert not Path(f"/var/lib/cni/results/{name}").exists()


def test_what_is_changed_by_hand_is_missed_and_check_complains(c: Cluster) -> None:
    c.pod("n1-p1").run(["ip", "addr", "flush", "dev", "eth0"])
    report = c.verify(probes=False)
    assert any("missing: n1-p1 addr eth0 10.244.1.2/24" in one for one in report.deviations)
    with pytest.raises(PodwireError, match=r"n1: pod n1-p1: bridge CHECK .*10\.244\.1\.2/24"):
        c.cni("check", "n1-p1")
    assert c.cni("check", "n2") == ["CHECK: 1 of 1 attachments asked, nothing wrong"]
    c.cni("del", "n1-p1")
    c.cni("add", "n1-p1")
    assert c.verify(probes=False).good
    # host-local goes on behind the last address, and what the lab says follows
    assert c.facts().addressing.pod["n1-p1"] == "10.244.1.3"


def test_delete_succeeds_when_all_is_gone_already(c: Cluster) -> None:
    c.node("n2").run(["ip", "link", "del", "cni0"])
    c.pod("n2-p1").run(["ip", "link", "del", "eth0"])
    assert c.cni("del", "n2-p1") == ["DEL: n2-p1 eth0 on n2"]
    assert c.cni("del", "n2-p1") == ["DEL: n2-p1 eth0 on n2"]
    assert journal(c, "n2") == []
    c.cni("add", "n2-p1")
    with pytest.raises(SpecError, match="attached already"):
        c.cni("add", "n2-p1")
    assert journal(c, "n2") and c.verify(probes=False).good


def test_verbs_say_which_version_is_spoken(c: Cluster) -> None:
    lines = c.cni("version", "n1")
    assert lines[-1].startswith("n1: network podnet speaks 1.")
    assert lines[0].startswith("n1: bridge supports 0.3.0, ")
    with pytest.raises(SpecError, match="one of n1, n1-p1, n2, n2-p1"):
        c.cni("check", "n3")


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_at_hand_speaks_its_newest_version(c: Cluster, release: str) -> None:
    c.apply(spec(binDir=[RELEASES[release]]))
    assert c.verify().good
    (spoken,) = re.findall(r"podnet speaks (\S+)", "\n".join(c.cni("version", "n1")))
    assert c.cni("check") == ["CHECK: 2 of 2 attachments asked, nothing wrong"]
    words = {"status": "ready for ADD", "gc": "stale things are gone"}
    for verb, done in words.items():
        absent = f"no {verb.upper()} before version 1.1.0, or the conflist forbids it"
        expected = done if spoken == "1.1.0" else absent
        assert c.cni(verb, "n1") == [f"n1: network podnet: {expected}"]
    assert spoken in ("1.0.0", "1.1.0")
    c.apply(spec())


@pytest.mark.parametrize("name", ["crio", "macvlan", "podman", "ptp"])
def test_every_conflist_of_the_topologies_works(folder: Path, name: str) -> None:
    path = str(ROOT / f"topologies/conflists/{name}.conflist")
    # in a lab of its own: bridge refuses one that it finds with another address
    with Cluster(spec(conflist=path), f"cni-{name}") as own:
        report = own.verify()
        assert report.good
        assert bool(report.not_predicted) == (name == "macvlan")


def test_pods_come_and_go_and_faults_hold(c: Cluster) -> None:
    c.apply(load(BRIDGE, {"spec.pods.perNode": 2}))
    assert c.verify(probes=False).good
    c.fail("link", "n1-p2")
    assert c.verify().good
    c.heal()
    assert c.verify(probes=False).good
    c.apply(spec())
    assert c.verify(probes=False).good
    assert len(journal(c, "n1")) == 1
    reserved = c.node("n1").run(["ls", "/var/lib/cni/networks/podnet"]).stdout.decode().split()
    assert sum(name.startswith("10.") for name in reserved) == 1


def test_a_lab_changes_from_and_to_a_plugin_that_is_compiled(c: Cluster) -> None:
    c.apply(load(BRIDGE, {"spec.network": {"plugin": "flannel"}, "spec.pods.perNode": 1}))
    assert c.verify(probes=False).good
    c.apply(spec())
    assert c.verify(probes=False).good


SERVE = (
    "import socket; s = socket.create_server(('', 80)); c, at = s.accept(); c.send(at[0].encode())"
)
ASK = "import socket; print(socket.create_connection(('192.168.50.11', 8080), 5).recv(99).decode())"


def test_capabilities_reach_the_binaries_that_ask_for_them(c: Cluster) -> None:
    found = json.loads((ROOT / "topologies/conflists/bridge.conflist").read_text())
    found["plugins"] += [
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
        {"type": "tuning", "capabilities": {"mac": True}},
    ]
    ports = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]
    limits = {
        "ingressRate": 10**7, "ingressBurst": 10**6, "egressRate": 2 * 10**7, "egressBurst": 10**6
    }  # fmt: skip
    mac = "02:11:22:33:44:55"
    c.apply(
        spec(
            conflist=json.dumps(found),
            capabilities={"bandwidth": limits},
            podCapabilities={"n1-p1": {"portMappings": ports, "mac": mac}},
        )
    )
    observed = c.observed()
    assert re.search(r"^n1 qdisc veth\w+ tbf rate 10000000bit", observed, re.M)
    # what a pod sends is turned round to an ifb first, where a second tbf stands
    assert re.search(r"^n1 qdisc bwp\w+ tbf rate 20000000bit", observed, re.M)
    assert re.search(rf"^n1-p1 interface eth0 up mtu 1500 mac {mac}", observed, re.M)
    assert mac not in re.findall(r"^n2-p1 interface eth0 .*", observed, re.M)[0]
    report = c.verify(probes=False)
    # portmap 1.1.1 looks for chains of IPv6 whatever the addresses are, from the first moment on
    assert report.good and all("portmap CHECK" in note for note in report.notes)
    server = c.pod("n1-p1").start(["python3", "-c", SERVE])
    until(lambda: c.pod("n1-p1").listening("tcp", 80), "the server listens")
    # a port of the node leads to the pod, which sees who asks
    seen = c.host("client").run(["python3", "-c", ASK]).stdout.decode().strip()
    assert seen == c.host("client").ip
    server.wait(5.0)
    c.apply(spec())
    assert c.verify(probes=False).good


MISBEHAVE: Mapping[str, tuple[Mapping[str, str], str]] = {
    "error": (
        {"ADD": """echo '{"code": 7, "msg": "no", "details": "not so"}'; exit 1"""},
        "found error 7 (the configuration is wrong): no: not so, expected a result",
    ),
    "exit": (
        {"ADD": "echo why >&2; exit 3"},
        "found exit code 3 without an error object, expected a result\n    hint: it said: why",
    ),
    "hang": ({"ADD": "sleep 100"}, "found still running after 1 s, killed, expected a result"),
    "garbage": ({"ADD": "echo hello"}, "found output that is no JSON: 'hello', expected"),
    "silence": ({"ADD": ":"}, "found no output, expected a result as JSON"),
    "flood": ({"ADD": "yes"}, "found more than 1 MiB of output, killed, expected a result"),
    "crash": ({"ADD": "kill -SEGV $$"}, "found signal 11 without an error object"),
    "version": (
        {"VERSION": """echo '{"supportedVersions": ["0.3.0"]}'"""},
        "expected a version that all binaries of the list support\n    hint: bad supports 0.3.0",
    ),
}


@pytest.mark.parametrize("name", MISBEHAVE)
def test_a_binary_that_misbehaves_is_named_and_the_lab_stays(
    bare: Cluster, bin_dir: Path, name: str
) -> None:
    commands, words = MISBEHAVE[name]
    binary(bin_dir, "bad", {**commands, "DEL": 'echo "$CNI_CONTAINERID" >>/tmp/deleted'})
    changed = spec(conflist=conflist("bad"), binDir=[str(bin_dir)], timeoutSeconds=1)
    with pytest.raises(PodwireError) as caught:
        bare.apply(changed)
    assert words in str(caught.value)
    assert str(caught.value).endswith("\nthe lab is as it was before")
    if name != "version":  # then nothing had begun
        assert "n1: pod n1-p1: bad ADD (conflist net:1: plugins[0])" in str(caught.value)
        # the specification asks for DEL after an ADD that failed
        assert len(bare.node("n1").run(["cat", "/tmp/deleted"]).stdout.split()) == 1
        bare.node("n1").run(["rm", "/tmp/deleted"])
    assert bare.verify(probes=False).good
    processes = bare.node("n1").run(["ps", "-eo", "args"]).stdout.decode()
    assert "sleep 100" not in processes and str(bin_dir) not in processes


def test_an_apply_that_fails_attaches_pods_again(c: Cluster, bin_dir: Path) -> None:
    binary(bin_dir, "bad", {"ADD": "exit 1"})
    with pytest.raises(PodwireError, match="the lab is as it was before"):
        c.apply(spec(conflist=conflist("bad"), binDir=[str(bin_dir)]))
    assert c.pod("n1-p1").ip == c.facts().addressing.pod["n1-p1"]
    assert c.verify().good


def test_a_binary_that_is_missing_is_named_before_anything_runs(c: Cluster) -> None:
    with pytest.raises(Unsupported) as caught:
        Cluster(spec(conflist=conflist("bridgee")), "cni-missing").up()
    assert str(caught.value) == (
        "conflist net: found no program bridgee in /usr/lib/cni, /opt/cni/bin, expected the "
        "binary\n    hint: did you mean bridge? binDir says where else to look; sudo apt-get "
        "install containernetworking-plugins"
    )
    assert caught.value.exit_code == 3


def test_what_a_failed_binary_leaves_behind_is_told_and_not_taken_for_granted(
    bare: Cluster, bin_dir: Path
) -> None:
    make = "ip link add left0 type bridge && exit 1"
    binary(bin_dir, "bad", {"ADD": make})
    with pytest.raises(PodwireError, match="exit code 1 without an error object") as caught:
        bare.apply(spec(conflist=conflist("bad"), binDir=[str(bin_dir)]))
    assert "left by binaries that failed: found n1 left0; n2 left0, expected nothing" in str(
        caught.value
    )
    left = bare.verify(probes=False).deviations
    assert any("extra: n1 bridge left0" in one for one in left)
    assert all("left0" in one for one in left)
    for node in ("n1", "n2"):
        bare.node(node).run(["ip", "link", "del", "left0"])
    assert bare.verify(probes=False).good


def test_a_delete_that_fails_is_owed_until_it_succeeds(c: Cluster, bin_dir: Path) -> None:
    flag = bin_dir / "stuck"
    stuck = f"test -e {flag} && {{ echo stuck >&2; exit 1; }}; exit 0"
    binary(bin_dir, "last", {"DEL": stuck})
    changed = spec(conflist=conflist("last"), binDir=[str(bin_dir)])
    c.apply(changed)
    assert c.verify(probes=False).good
    flag.touch()
    with pytest.raises(PodwireError) as caught:
        c.apply(spec())
    assert "n1: pod n1-p1: last DEL" in str(caught.value)
    assert "going back to what was" in str(caught.value)
    (owed,) = [one for one in c.verify(probes=False).deviations if "n1-p1" in one]
    assert "(begun, not whole)" in owed
    flag.unlink()
    c.apply(spec())
    assert c.verify(probes=False).good
    assert len(journal(c, "n1")) == 1


def test_a_delete_that_never_succeeds_can_be_given_up(bare: Cluster, bin_dir: Path) -> None:
    binary(bin_dir, "never", {"DEL": "echo never >&2; exit 1"})
    bare.apply(spec(conflist=conflist("never"), binDir=[str(bin_dir)]))
    with pytest.raises(SpecError, match="cni forget n1: found no DEL that failed"):
        bare.cni("forget", "n1")
    none = load(BRIDGE, {"spec.pods.perNode": 0})
    with pytest.raises(PodwireError, match="podwire cni forget gives up a DEL"):
        bare.apply(none)
    assert bare.cni("forget", "") == [f"forgotten: n{i}-p1 eth0 on n{i}" for i in (1, 2)]
    bare.apply(none)
    assert bare.verify(probes=False).good
    assert not journal(bare, "n1")


def test_what_binaries_made_for_a_pod_that_is_given_up_goes_with_it(
    folder: Path, bin_dir: Path
) -> None:
    flag = bin_dir / "broken"
    fails = f"test -e {flag} && {{ echo no >&2; exit 1; }}"
    binary(bin_dir, "tail", {"ADD": f"{fails}\n{PASS_ON}", "DEL": f"{fails}\nexit 0"})
    chained = json.loads((ROOT / "topologies/conflists/bridge.conflist").read_text())
    chained["plugins"].append({"type": "tail"})
    network = {"conflist": json.dumps(chained), "binDir": [str(bin_dir), "/usr/lib/cni"]}
    none = load(BRIDGE, {"spec.pods.perNode": 0})
    with Cluster(none, "given-up") as own:
        own.apply(spec(**network))
        flag.touch()
        with pytest.raises(PodwireError, match="tail DEL"):
            own.apply(none)
        own.cni("forget", "")
        own.apply(none)
        assert own.verify(probes=False).good, "the cables went with the pods"

        # the pods never come to be: ADD fails, and so does DEL, and no plan knows of them
        with pytest.raises(PodwireError, match="tail DEL"):
            own.apply(spec(**network))
        assert own.cni("forget", "n1") == ["forgotten: n1-p1 eth0 on n1"]
        own.cni("forget", "")
        flag.unlink()
        own.apply(none)
        left = own.verify(probes=False).deviations
        assert all(" nft ip " in one for one in left), "what nobody undid is told"


def test_status_and_gc_of_version_1_1(bare: Cluster, bin_dir: Path) -> None:
    ready = """test -e /tmp/ready || { echo '{"code": 50, "msg": "starting"}'; exit 1; }"""
    binary(bin_dir, "newer", {"STATUS": ready, "GC": "cat >/tmp/collected"})
    bare.apply(spec(conflist=conflist("newer", version="1.1.0"), binDir=[str(bin_dir)]))
    with pytest.raises(PodwireError, match=r"n1: newer STATUS .*error 50 \(not available\)"):
        bare.cni("status", "n1")
    bare.node("n1").run(["touch", "/tmp/ready"])
    assert bare.cni("status", "n1") == ["n1: network net: ready for ADD"]
    assert bare.cni("gc", "n1") == ["n1: network net: stale things are gone"]
    asked = json.loads(bare.node("n1").read_file("/tmp/collected"))
    (valid,) = asked["cni.dev/valid-attachments"]
    assert valid["ifname"] == "eth0" and valid["containerID"] in journal(bare, "n1")[0]
    bare.apply(load(BRIDGE, {"spec.pods.perNode": 0}))
    assert bare.verify(probes=False).good
