"""What charon is told when its settings change: what is new, and what is gone."""

from __future__ import annotations

from typing import Any

from emulator.substrate.daemons.strongswan import Told

SECRET = {"type": "IKE", "data": "x", "owners": ["192.0.2.1"]}


class Charon:
    """Writes down what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def load_conn(self, connection: dict[str, Any]) -> None:
        self.asked += [("load", name) for name in connection]

    def unload_conn(self, connection: dict[str, Any]) -> None:
        self.asked.append(("unload", connection["name"]))

    def load_shared(self, secret: dict[str, Any]) -> None:
        self.asked.append(("secret", secret["owners"][0]))


def asked(told: Told, secrets: list[Any], connections: dict[str, Any]) -> list[tuple[str, Any]]:
    charon = Charon()
    told.follow({"secrets": secrets, "connections": connections}, charon)  # type: ignore[arg-type]
    return charon.asked


def test_secrets_come_before_the_connections_that_want_them() -> None:
    assert asked(Told(), [SECRET], {"n2": {"version": "2"}}) == [
        ("secret", "192.0.2.1"),
        ("load", "n2"),
    ]


def test_what_it_knows_is_not_told_again() -> None:
    """A connection that is loaded anew would begin to negotiate anew."""
    told = Told()
    asked(told, [SECRET], {"n2": {"version": "2"}})
    assert asked(told, [SECRET], {"n2": {"version": "2"}}) == []
    more = {**SECRET, "owners": ["192.0.2.3"]}
    assert asked(told, [SECRET, more], {"n2": {"version": "2"}, "n3": {}}) == [
        ("secret", "192.0.2.3"),
        ("load", "n3"),
    ]


def test_what_is_gone_is_unloaded_and_what_differs_is_loaded() -> None:
    told = Told()
    asked(told, [], {"n2": {"encap": "no"}, "n3": {}})
    assert asked(told, [], {"n2": {"encap": "yes"}}) == [("unload", "n3"), ("load", "n2")]
