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
