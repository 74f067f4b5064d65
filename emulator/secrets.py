"""Keys and passwords of a lab, which no plan holds.

A plan says *which* key stands somewhere, in a word like ``{public key: n1 flannel-wg}``. What it
stands for is drawn once for each lab and put in its place by the substrate on the way into the
kernel, a file or a process, and on the way back the word is put in place of what it stands for.
So plan, hash and whatever is printed or stored are the same in every lab, and give nothing away.

A room asks for words (:func:`private_key` and so on); :class:`Secrets` knows what they stand for.
Both ends of something shared ask for it by the same name.
"""

from __future__ import annotations

import re
from base64 import b32encode, b64encode
from collections.abc import Iterable
from hashlib import shake_256

SEED_B = 32
"""Bytes that the secrets of a lab are drawn from."""

WORD = re.compile(r"\{(public key|private key|shared key|password|hex)(?: (\d+))?: ([^{}\n]+)\}")
"""A word: what it is, of how many characters or octets, its name."""


def private_key(name: str) -> str:
    """A key of X25519 in base64, as ``wg genkey`` draws one."""
    return f"{{private key: {name}}}"


def public_key(name: str) -> str:
    """What belongs to the private key of that name."""
    return f"{{public key: {name}}}"


def shared_key(name: str) -> str:
    """32 octets in base64, as ``wg genpsk`` draws them."""
    return f"{{shared key: {name}}}"


def password(name: str, length: int) -> str:
    """So many capitals and digits, five bits each, which no shell or file takes amiss."""
    return f"{{password {length}: {name}}}"


def octets(name: str, count: int) -> str:
    """So many octets in hexadecimal digits, two each."""
    return f"{{hex {count}: {name}}}"


def private_half(public: str) -> str:
    """The word for the private key, from that for the public one. ValueError for other text."""
    found = WORD.fullmatch(public)
    if found is None or found[1] != "public key":
        raise ValueError(f"not a public key of the plan: {public}")
    return private_key(found[3])


def words(text: str) -> list[str]:
    """All words in a text, each once, in the order in which they come."""
    if "{" not in text:
        return []
    return list(dict.fromkeys(found[0] for found in WORD.finditer(text)))


class Secrets:
    """What the words of one lab stand for, drawn from its seed of ``SEED_B`` octets."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_B:
            raise ValueError(f"{len(seed)} octets of seed, not {SEED_B}")
        self._seed = seed
        self._known: dict[str, str] = {}

    def reveal(self, text: str) -> str:
        """A text with every word replaced by what it stands for."""
        return WORD.sub(self._meaning, text) if "{" in text else text

    def hide(self, text: str, known: Iterable[str]) -> str:
        """A text with what these words stand for replaced by them."""
        for word in known:
            text = text.replace(self.reveal(word), word)
        return text

    def _meaning(self, found: re.Match[str]) -> str:
        word, kind, size, name = found[0], found[1], int(found[2] or 0), found[3]
        if word not in self._known:
            self._known[word] = self._find(word, kind, size, name)
        return self._known[word]

    def _find(self, word: str, kind: str, size: int, name: str) -> str:
        if kind == "public key":
            return _text(_public(self._private(name)))
        if kind == "private key":
            return _text(self._private(name))
        if kind == "shared key":
            return _text(self._drawn(word, 32))
        if kind == "hex":
            return self._drawn(word, size).hex()
        return b32encode(self._drawn(word, size)).decode()[:size]

    def _private(self, name: str) -> bytes:
        first, *others, last = self._drawn(private_key(name), 32)
        # the bits that a key of Curve25519 has not; programs print it without them
        return bytes([first & 248, *others, last & 127 | 64])

    def _drawn(self, word: str, count: int) -> bytes:
        return shake_256(self._seed + word.encode()).digest(count)


def _public(private: bytes) -> bytes:
    # 8 ms that only a lab with such keys has to spend
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def _text(key: bytes) -> str:
    return b64encode(key).decode()
