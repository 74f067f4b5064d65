"""Keys and passwords: drawn once for each lab, and in no plan."""

from __future__ import annotations

import shutil
import subprocess
from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import FILES, in_a_world, kernel

from emulator import secrets
from emulator.plan import Op
from emulator.plan.drawing import drawing, in_double_quotes, in_here_document
from emulator.plan.resources import File, Netns
from emulator.secrets import SEED_B, Secrets

PRIVATE, PUBLIC = secrets.private_key("n1 wg0"), secrets.public_key("n1 wg0")
SHARED, PASSWORD, HEX = (
    secrets.shared_key("x"),
    secrets.password("ike", 96),
    secrets.octets("k", 36),
)
WORDS = (PRIVATE, PUBLIC, SHARED, PASSWORD, HEX)
NAMES = st.text(st.sampled_from("abz019 .-:/"), min_size=1)
SEEDS = st.binary(min_size=SEED_B, max_size=SEED_B)


@given(SEEDS, NAMES, st.integers(16, 300))
def test_what_words_stand_for_has_their_form(seed: bytes, name: str, size: int) -> None:
    lab = Secrets(seed)
    assert len(b64decode(lab.reveal(secrets.public_key(name)))) == 32
    private = b64decode(lab.reveal(secrets.private_key(name)))
    # an X25519 key as programs print it: three bits off at one end, one off and one on at the other
    assert (private[0] & 7, private[31] & 192) == (0, 64)
    assert len(lab.reveal(secrets.password(name, size))) == size
    assert lab.reveal(secrets.password(name, size)).isalnum()
    assert len(bytes.fromhex(lab.reveal(secrets.octets(name, size)))) == size


def test_the_public_key_is_what_wg_makes_of_the_private_one() -> None:
    assert shutil.which("wg"), "wireguard-tools are part of 'make setup'"
    lab = Secrets(b"\2" * 32)
    said = subprocess.run(
        ["wg", "pubkey"], input=lab.reveal(PRIVATE), capture_output=True, text=True
    )
    assert said.stdout.strip() == lab.reveal(PUBLIC)


@given(SEEDS, st.lists(st.sampled_from(WORDS) | st.text("ab {}\n:")))
def test_hiding_undoes_revealing(seed: bytes, parts: list[str]) -> None:
    lab, text = Secrets(seed), "".join(parts)
    assert lab.hide(lab.reveal(text), WORDS) == text
    for word in secrets.words(text):
        assert word not in lab.reveal(text)


def test_another_lab_has_other_keys_and_the_same_lab_the_same() -> None:
    one, again, other = Secrets(bytes(32)), Secrets(bytes(32)), Secrets(b"\1" * 32)
    for word in WORDS:
        assert one.reveal(word) == again.reveal(word) != other.reveal(word)
    assert len({one.reveal(word) for word in WORDS}) == len(WORDS)


def test_names_tell_keys_apart() -> None:
    lab = Secrets(bytes(32))
    assert lab.reveal(secrets.shared_key("a")) != lab.reveal(secrets.shared_key("b"))


def test_only_a_public_key_has_a_private_half() -> None:
    assert secrets.private_half(PUBLIC) == PRIVATE
    with pytest.raises(ValueError, match="not a public key"):
        secrets.private_half(SHARED)


def test_a_short_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="16 octets of seed, not 32"):
        Secrets(bytes(16))


def test_a_shell_draws_keys_of_its_own() -> None:
    assert shutil.which("wg"), "wireguard-tools are part of 'make setup'"
    text = f'plain $HOME `id` \\ "q" {PRIVATE} {PUBLIC} {SHARED} {PASSWORD} {HEX}'
    script = "".join(drawing([PUBLIC, SHARED, PASSWORD, HEX]))
    script += f'printf %s "{in_double_quotes(text)}"\ncat <<EOF\n\n{in_here_document(text)}\nEOF\n'
    out = subprocess.run(["sh", "-eu"], input=script, capture_output=True, text=True, check=True)
    quoted, document = out.stdout.strip().split("\n")
    assert quoted == document
    assert quoted.startswith('plain $HOME `id` \\ "q" ')
    private, public, shared, password, digits = quoted.rpartition('"q" ')[2].split(" ")
    derived = subprocess.run(["wg", "pubkey"], input=private, capture_output=True, text=True)
    assert derived.stdout.strip() == public
    assert (len(b64decode(shared)), len(password), len(bytes.fromhex(digits))) == (32, 96, 36)


@pytest.mark.kernel
def test_a_file_gets_the_key_and_is_read_back_without_it() -> None:
    wanted = File("a", "/run/wgkey", f"{PRIVATE} and {PASSWORD}\n")

    def body() -> None:
        with kernel() as machine:
            machine.apply([Op("create", Netns("a"), None), Op("create", wanted, None)])
            written = (FILES / "a/run/wgkey").read_text()
            assert written == machine.secrets.reveal(wanted.text)
            assert "{" not in written
            assert machine.observe([wanted])[wanted.key] == wanted
            (FILES / "a/run/wgkey").write_text("other\n")
            assert machine.observe([wanted])[wanted.key] == wanted._replace(text="other\n")

    in_a_world(body)
