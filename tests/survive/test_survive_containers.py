"""A container's command that is changed, or ends, while what it has started holds a port."""

from __future__ import annotations

import json
import os
import signal

import pytest
from callers import Caller
from waiting import until

pytestmark = pytest.mark.kernel

SPEC = """\
apiVersion: podwire/v1
kind: Cluster
metadata: {name: held}
spec:
  network: {plugin: flannel, backend: vxlan}
  nodes: {count: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  nodeName: n1
  restartPolicy: Always
  containers:
  - name: server
    command:
    - sh
    - -c
    - |
      timeout 600 python3 -SEc '
      import socket, time
      held = socket.create_server(("", 80))
      print("version 1 listens", flush=True)
      time.sleep(600)'
      exit 1
"""


def test_the_next_command_gets_the_port(either: Caller) -> None:
    spec = either.folder / "held.yaml"
    spec.write_text(SPEC)
    either.podwire("up", str(spec))

    def listens(version: int, times: int = 1) -> None:
        log = ("exec", "web", "--", "cat", "/var/log/containers/web_server.log")
        words = f"version {version} listens"
        until(lambda: either.podwire(*log).stdout.count(words) == times, words)

    listens(1)
    spec.write_text(SPEC.replace("version 1", "version 2"))
    either.podwire("apply", str(spec))
    listens(2)
    (shell,) = (pid for pid, name in either.processes().items() if name == "sh")
    os.kill(shell, signal.SIGKILL)
    listens(2, times=2)
    (row,) = json.loads(either.podwire("get", "processes", "-o", "json").stdout)
    assert (row["state"], row["restarts"]) == ("running", 1)


SHARED = """\
apiVersion: podwire/v1
kind: Cluster
metadata: {name: shared}
spec:
  network: {plugin: none}
  nodes: {count: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  nodeName: n1
  containers:
  - name: server
    command: [python3, -SEc, "import socket, time; held = socket.create_server(('127.0.0.1', 80));
      print('listens', flush=True); time.sleep(600)"]
  - name: sidecar
    command: [sh, -c, "sleep 600"]
---
apiVersion: v1
kind: Pod
metadata: {name: stray}
spec:
  nodeName: n1
  containers:
  - name: own
    command: [sh, -c, "sleep 600"]
"""


def test_containers_of_a_pod_have_one_loopback_and_one_set_of_ports(either: Caller) -> None:
    spec = either.folder / "shared.yaml"
    spec.write_text(SHARED)
    either.podwire("up", str(spec))
    log = ("exec", "web", "--", "cat", "/var/log/containers/web_server.log")
    until(lambda: "listens" in either.podwire(*log).stdout, "the server")
    ask = "import socket; socket.create_connection(('127.0.0.1', 80), 5)"
    either.podwire("exec", "web", "--", "python3", "-SEc", ask)
    take = "import socket; socket.create_server(('127.0.0.1', 80))"
    assert (
        "Address already in use"
        in either.podwire("exec", "web", "--", "python3", "-SEc", take, code=1).stderr
    )
    assert "M2   holds" in either.podwire("verify").stdout

    # one that has left its pod's namespace is no container of that pod
    spec.write_text(SHARED.replace('[sh, -c, "sleep 600"]\n', "[unshare, --net, sleep, '600']\n"))
    either.podwire("apply", str(spec))
    stray = "processes: stray/own: not in the network namespace of stray\n"
    until(lambda: stray in either.podwire("verify", code=None).stdout, "the strays to be told")
    told = either.podwire("verify", code=1).stdout
    assert "M2   does not hold" in told and "NOT as the spec says" in told
