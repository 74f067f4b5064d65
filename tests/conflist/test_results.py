"""What binaries answer, in every version of the protocol."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emulator.conflist import results
from emulator.conflist.model import VERSIONS
from emulator.conflist.results import Garbage, Interface, Ip, Route


def answer(version: str | None = "1.1.0", **more: Any) -> bytes:
    """A result as the bridge plugin gives it."""
    old = version in ("0.3.0", "0.3.1", "0.4.0")
    ip = {"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 1}
    found: dict[str, Any] = {
        "interfaces": [
            {"name": "cni0", "mac": "00:11:22:33:44:55"},
            {"name": "eth0", "mac": "AA:88:77:66:55:44", "sandbox": "/run/netns/p", "mtu": 1400},
        ],
        "ips": [{"version": "4", **ip} if old else ip],
        "routes": [{"dst": "0.0.0.0/0", "priority": 5}],
        "dns": {},
    }
    return json.dumps({**found, **({"cniVersion": version} if version else {}), **more}).encode()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_result_of_every_version_is_understood(version: str) -> None:
    found = results.result(answer(version), "1.0.0")
    assert found.version == version
    assert found.interfaces[1] == Interface("eth0", "aa:88:77:66:55:44", "/run/netns/p", 1400)
    assert found.ips == (Ip("10.1.0.5/16", "10.1.0.1", 1),)
    assert found.routes == (Route("0.0.0.0/0", ""),)


@pytest.mark.parametrize("asked", VERSIONS)
@pytest.mark.parametrize("given", VERSIONS)
def test_the_next_plugin_gets_it_in_the_version_that_is_spoken(given: str, asked: str) -> None:
    found = results.result(answer(given), asked)
    passed = results.previous(found, asked)
    assert passed["cniVersion"] == asked
    if given == asked:
        assert passed == json.loads(answer(given))
        return
    (ip,) = passed["ips"]  # type: ignore[misc]
    assert isinstance(ip, dict)
    assert ip.get("version") == ("4" if asked < "1.0.0" else None)
    assert ("mtu" in str(passed["interfaces"])) == (asked == "1.1.0")
    assert ("priority" in str(passed["routes"])) == (asked == "1.1.0")
    again = results.result(json.dumps(passed).encode(), asked)
    assert (again.ips, again.version) == (found.ips, asked)


def test_a_result_without_a_version_is_of_the_one_that_was_asked_for() -> None:
    assert results.result(answer(None), "0.4.0").version == "0.4.0"


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (b"", "no output"),
        (b"  \n", "no output"),
        (b"\x7fELF garbage", "no JSON"),
        (b"{" * 100_000, "no JSON"),
        (b"[]", "no object"),
        (answer("9.9.9"), "unknown version '9.9.9'"),
        (answer(ips=[{"address": "10.1.0.300/16"}]), "'10.1.0.300/16'"),
        (answer(ips=[{"address": "10.1.0.3/16", "interface": 7}]), "interface 7 of 2"),
        (answer(ips=3), "ips are no list"),
        (answer(interfaces=[{"name": 3}]), "a name that is no text"),
        (answer(routes=[{"dst": "all"}]), "the route 'all'"),
    ],
)
def test_garbage_is_called_by_its_name(output: bytes, words: str) -> None:
    with pytest.raises(Garbage, match=words):
        results.result(output, "1.0.0")


def test_versions_that_we_do_not_know_are_left_out() -> None:
    known = results.versions(b'{"supportedVersions": ["0.1.0", "1.0.0", "0.4.0", "7.0.0"]}')
    assert known == ("0.4.0", "1.0.0")
    with pytest.raises(Garbage, match="supportedVersions"):
        results.versions(b'{"cniVersion": "1.0.0"}')


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (b'{"code": 7, "msg": "bad", "details": "worse"}',
         "error 7 (the configuration is wrong): bad: worse"),
        (b'{"code": 100, "msg": "mine\\n  own"}', "error 100: mine own"),
        (b'{"msg": "no code"}', "no code"),
        (b'{"cniVersion": "1.0.0"}', "None"),
        (b"not json", "None"),
    ],
)  # fmt: skip
def test_error_objects(output: bytes, words: str) -> None:
    assert str(results.failure(output)) == words
