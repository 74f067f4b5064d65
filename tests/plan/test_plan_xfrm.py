"""IPsec's kinds as text and as commands, which never tell a key."""

from __future__ import annotations

import pytest
from kernel_scenarios import A
from scenarios_xfrm import MARKED, POLICY, STATE, TUNNELLED, WIDE

from emulator.plan.plan import Plan
from emulator.plan.resources import Resource
from emulator.plan.script import script
from emulator.plan.text import line
from emulator.plan.xfrm import XfrmSa
from emulator.secrets import octets

KEY = octets("a to b", 36)

WORDS: list[tuple[Resource, str]] = [
    (
        POLICY,
        "ip -n a xfrm policy add src 10.1.0.0/24 dst 10.2.0.0/24 dir out"
        " tmpl src 10.0.0.1 dst 10.0.0.2 proto esp reqid 11 mode tunnel",
    ),
    (
        MARKED._replace(priority=7),
        "ip -n a xfrm policy add src 10.0.0.1/32 dst 10.0.0.2/32 proto udp dport 6784 dir out"
        " mark 0x20000 mask 0x20000 priority 7"
        " tmpl src 10.0.0.1 dst 10.0.0.2 proto esp spi 0x00001234 reqid 0 mode transport",
    ),
    (
        WIDE._replace(secret=KEY),
        "ip -n a xfrm state add src 10.0.0.1 dst 10.0.0.2 proto esp spi 0x00001235 reqid 0"
        " mode transport replay-window 256 flag esn aead 'rfc4106(gcm(aes))'"
        ' "0x${hex_36_a_to_b}" 128',
    ),
    (
        TUNNELLED._replace(mark=1, mask=3),
        "ip -n a xfrm state add src 10.0.0.1 dst 10.0.0.2 proto esp spi 0x00001236 reqid 11"
        " mode tunnel replay-window 32 aead 'rfc4106(gcm(aes))'"
        f' "0x{"cd" * 20}" 128 mark 0x1 mask 0x3'
        " output-mark 0x10 mask 0xff sel src 10.1.0.0/24 dst 10.2.0.0/24 proto tcp",
    ),
]


def plan(*resources: Resource) -> Plan:
    made = Plan()
    made.add(resources, "test")
    return made


@pytest.mark.parametrize(("resource", "words"), WORDS)
def test_words(resource: Resource, words: str) -> None:
    assert f"{words}\n" in script(plan(*A, resource))


def test_a_script_draws_the_key() -> None:
    lines = script(plan(*A, STATE._replace(secret=KEY))).splitlines()
    assert "hex_36_a_to_b=$(od -An -vtx1 -N36 /dev/urandom | tr -d ' \\n')" in lines


def test_a_line_has_the_word_for_the_key() -> None:
    assert f"aead rfc4106(gcm(aes)) {KEY} 128" in line(STATE._replace(secret=KEY))


def test_what_a_key_daemon_writes_is_a_comment() -> None:
    desired = plan(*A)
    sa = XfrmSa("a", "10.0.0.1", "10.0.0.2", "tunnel", 11, "rfc4106(gcm(aes)) 160 icv 128")
    desired.add([sa], "charon", "expected", "charon")
    text = (
        "a xfrm-sa src 10.0.0.1 dst 10.0.0.2 proto esp reqid 11 mode tunnel"
        " rfc4106(gcm(aes)) 160 icv 128"
    )
    assert f"# expected, not written here: {text}\n" in script(desired)
