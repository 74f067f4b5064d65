"""Classes of Mininet's that describe a topology, read into plain values.

A description is a Python class, so reading it runs code of its author's, as ``mn --custom``
does. Nothing of a machine is touched by it.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mininet.topo import Topo

from emulator.errors import Problem, SpecError

_WANTED = "a class derived from mininet.topo.Topo"


class Link(NamedTuple):
    """A cable between two places; ``options`` as Mininet has them (``bw``, ``delay``, …)."""

    one: str
    other: str
    options: dict[str, Any]


class Graph(NamedTuple):
    """A topology. ``options`` holds what was said of a place beyond its name."""

    switches: tuple[str, ...]
    hosts: tuple[str, ...]
    links: tuple[Link, ...]
    options: dict[str, dict[str, Any]]


_OF_LINKS = ("node1", "node2", "port1", "port2")
_OF_NODES = ("isSwitch",)


def graph(reference: str, args: Mapping[str, Any], folder: Path) -> Graph:
    """The topology of ``module:Class`` or ``path.py:Class``, the path beginning in ``folder``.

    SpecError when there is no such class, or when it cannot be made of the arguments.
    """
    made = _made(_class(reference, folder), reference, args)
    places = {name: made.nodeInfo(name) for name in made.nodes()}
    return Graph(
        tuple(made.switches()),
        tuple(made.hosts()),
        tuple(
            Link(one, other, {k: v for k, v in info.items() if k not in _OF_LINKS})
            for one, other, info in made.links(sort=True, withInfo=True)
        ),
        {
            name: {k: v for k, v in info.items() if k not in _OF_NODES}
            for name, info in places.items()
        },
    )


def _class(reference: str, folder: Path) -> type[Topo]:
    where, _, name = reference.rpartition(":")
    path = folder / where
    try:
        if not where.endswith(".py"):
            module = importlib.import_module(where)
        else:
            spec = importlib.util.spec_from_file_location(path.stem, path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
    except (ImportError, FileNotFoundError) as error:
        raise SpecError(Problem(reference, str(error), _WANTED)) from error
    except Exception as error:  # the author's code may raise anything
        raise SpecError(Problem(reference, _said(error), f"{where} to run")) from error
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, Topo)):
        what = "nothing of that name" if found is None else f"{name}, which is none"
        raise SpecError(Problem(reference, what, _WANTED))
    return found


def _made(topo: type[Topo], reference: str, args: Mapping[str, Any]) -> Topo:
    try:
        return topo(**args)
    except Exception as error:  # the author's code may raise anything
        words = ", ".join(f"{name}={value!r}" for name, value in args.items())
        raise SpecError(
            Problem(reference, _said(error), f"{topo.__name__}({words}) to be made", "see args")
        ) from error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
