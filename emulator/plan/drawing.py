"""What the words for keys and passwords stand for, drawn by a shell script for itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from emulator.secrets import WORD, private_half


def drawing(found: Iterable[str]) -> Iterator[str]:
    """A line for each word, and for the private half of each public key, before it.

    Needs ``wg`` for keys; passwords and octets come from ``/dev/urandom``.
    """
    private = {private_half(word) for word in found if word.startswith("{public key")}
    for word in sorted({*found, *private}, key=lambda word: (word.startswith("{public"), word)):
        yield f"{_name(word)}=$({_command(word)})\n"


def in_double_quotes(text: str) -> str:
    """A text for within double quotes, or a here-document whose end is not quoted, that has the
    drawn values in the place of words."""
    plain = re.sub(r'([\\$`"])', r"\\\1", text)
    return WORD.sub(lambda found: f"${{{_name(found[0])}}}", plain)


def in_here_document(text: str) -> str:
    """As ``in_double_quotes``, where a quotation mark stands for itself."""
    return in_double_quotes(text).replace('\\"', '"')


def _name(word: str) -> str:
    return re.sub(r"\W+", "_", word.strip("{}"))


def _command(word: str) -> str:
    found = WORD.fullmatch(word)
    assert found is not None
    kind, size = found[1], found[2]
    if kind == "private key":
        return "wg genkey"
    if kind == "public key":
        return f'printf %s "${_name(private_half(word))}" | wg pubkey'
    if kind == "shared key":
        return "wg genpsk"
    if kind == "hex":
        return f"od -An -vtx1 -N{size} /dev/urandom | tr -d ' \\n'"
    return f"LC_ALL=C tr -dc A-Z2-7 </dev/urandom | head -c {size}"
