"""A world of its own for a program that is compared with Podwire: the lab's, by the lab's way.

Same namespaces, same private mounts, same way of dying; what runs in it is for the caller
to say. With the word ``down`` the program takes down what it built; its end ends the world.
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from emulator.errors import PodwireError
from emulator.substrate import control, lab
from emulator.substrate.lab import Start
from emulator.substrate.runtime import World

Facts = Mapping[str, Any]
Build = Callable[[], tuple[dict[str, Any], Callable[[], Facts]]]
"""Builds inside the world; returns what to report, and what takes it down again."""


@contextmanager
def world(name: str, build: Build) -> Iterator[tuple[World, dict[str, Any]]]:
    """Build in a fresh world; gone after. PodwireError of the building's own."""

    def body(begun: Start) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        facts, down = build()
        begun.ready(facts)
        while True:
            try:
                _serve(begun.control, down)
            except (EOFError, ConnectionError):
                continue

    place, facts = lab.start(f"{name}-{os.getpid()}", body, keep=False)
    try:
        yield place, facts
    finally:
        lab.end(place)


def _serve(listening: socket.socket, down: Callable[[], Facts]) -> None:
    link, _ = listening.accept()
    with link:
        verb, _ = control.receive(link)
        if verb != "down" or not control.same_user(link):
            control.send(link, ("error", PodwireError(f"no verb {verb!r}")))
            return
        try:
            control.send(link, ("result", down()))
        except PodwireError as error:
            control.send(link, ("error", error))


def down(place: World, timeout_s: float) -> Facts:
    """Have the program take down what it built; returns what it says of that."""
    facts: Facts = control.ask(place, "down", timeout_s=timeout_s)
    return facts
