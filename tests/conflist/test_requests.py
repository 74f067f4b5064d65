"""Environment and standard input of every kind of invocation."""

from __future__ import annotations

import json
from typing import Any

from emulator.conflist import requests
from emulator.conflist.model import parse
from emulator.conflist.requests import Invocation, Target

TEXT = json.dumps(
    {
        "cniVersion": "1.1.0",
        "name": "net",
        "plugins": [
            {
                "type": "portmap",
                "strange": {"kept": [1]},
                "capabilities": {"portMappings": True, "bandwidth": False, "mac": True},
            }
        ],
    }
)
CONFLIST = parse(TEXT, "f")
(PLUGIN,) = CONFLIST.plugins
PORTS: list[Any] = [{"hostPort": 80, "containerPort": 80, "protocol": "tcp"}]
TARGET = Target(
    "c1", "/run/netns/p", "eth0", (("A", "1"), ("B", "2")),
    {"portMappings": PORTS, "bandwidth": {"ingressRate": 1}},
)  # fmt: skip
PATH = ("/a", "/b")


def conf(call: Invocation) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(call.standard_input)
    return found


def test_add_has_what_the_specification_names() -> None:
    call = requests.attach("ADD", CONFLIST, PLUGIN, "1.0.0", TARGET, PATH)
    assert call.program == "portmap"
    assert call.environment == {
        "CNI_COMMAND": "ADD",
        "CNI_PATH": "/a:/b",
        "CNI_CONTAINERID": "c1",
        "CNI_NETNS": "/run/netns/p",
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": "A=1;B=2",
    }
    # only what the plugin asks for and we have; the capabilities themselves are not passed on
    assert conf(call) == {
        "type": "portmap",
        "name": "net",
        "cniVersion": "1.0.0",
        "strange": {"kept": [1]},
        "runtimeConfig": {"portMappings": PORTS},
    }


def test_without_arguments_there_is_no_variable() -> None:
    call = requests.attach("ADD", CONFLIST, PLUGIN, "1.0.0", TARGET._replace(args=()), PATH)
    assert "CNI_ARGS" not in call.environment


def test_the_result_before_is_passed_on() -> None:
    call = requests.attach("DEL", CONFLIST, PLUGIN, "1.0.0", TARGET, PATH, {"ips": []})
    assert conf(call)["prevResult"] == {"ips": []}


def test_status_gc_and_version_know_no_container() -> None:
    status = requests.status(CONFLIST, PLUGIN, "1.1.0", PATH)
    assert status.environment == {"CNI_COMMAND": "STATUS", "CNI_PATH": "/a:/b"}
    assert conf(status)["capabilities"]["portMappings"] is True
    gc = requests.collect(CONFLIST, PLUGIN, "1.1.0", PATH, [("c1", "eth0")])
    assert gc.environment == {"CNI_COMMAND": "GC", "CNI_PATH": "/a:/b"}
    assert conf(gc)["cni.dev/valid-attachments"] == [{"containerID": "c1", "ifname": "eth0"}]
    version = requests.ask_version("portmap", PATH, "1.1.0")
    assert version.environment["CNI_COMMAND"] == "VERSION"
    assert conf(version) == {"cniVersion": "1.1.0"}
