"""A file to a ResolvedSpec, by way of its documents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from emulator.errors import Problem, SpecError
from emulator.spec import limits
from emulator.spec.check import STAND_INS, Checked, place_of, validate
from emulator.spec.findings import Findings, nearest, one_of, shortened, show
from emulator.spec.model import KINDS, ClusterDocument, PodDocument
from emulator.spec.overrides import overridden
from emulator.spec.pods import BANDWIDTH, CheckedPod
from emulator.spec.reader import Document, Trouble, Unreadable, parse
from emulator.spec.resolve import resolve
from emulator.spec.resolved import Place, ResolvedSpec
from emulator.spec.shorthand import TopoReader, nodes_stood_in, written_out
from emulator.spec.topology import warn_of_deaf_routers, warn_of_missing_routers
from emulator.spec.tree import Source, Tree, get

Overrides = Mapping[str, object]


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a file, at most one more than may be in it. SpecError if unreadable."""
    try:
        with open(path, "rb") as file:
            return file.read(limits.BYTES + 1)
    except FileNotFoundError:
        found = "no file of that name"
    except IsADirectoryError:
        found = "a directory"
    except PermissionError:
        found = "a file that may not be read"
    except (OSError, ValueError) as error:
        found = str(error)
    raise SpecError(Problem(str(path), found, "a cluster spec in YAML"))


def decode(data: str | bytes, file: str) -> str:
    """The text of a file. SpecError when it is too long or not UTF-8."""
    if len(data) > limits.BYTES:
        raise SpecError(
            Problem(
                file,
                f"more than {limits.BYTES >> 20} MiB",
                f"at most {limits.BYTES >> 20} MiB",
                "pods: {perNode: N} writes many pods in one line",
            )
        )
    if isinstance(data, str):
        return data.removeprefix("\ufeff")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = len(data[data.rfind(b"\n", 0, error.start) + 1 : error.start].decode()) + 1
        place = Place(file, line, column, "document")
        raise SpecError(
            Problem(str(place), f"the byte 0x{data[error.start]:02x}", "text in UTF-8")
        ) from None


class Loaded(NamedTuple):
    """A spec and what its author might want to know; warnings are in the file's order."""

    spec: ResolvedSpec
    warnings: list[Problem]


class _Written(NamedTuple):
    """A document, as it stands in the file."""

    source: Source
    troubles: list[Trouble]


def load_documents(
    data: str | bytes, file: str, overrides: Overrides, topo: TopoReader | None = None
) -> Loaded:
    """Everything from the text on. SpecError with all problems of the file."""
    findings, warnings = Findings(), Findings()
    try:
        documents = parse(decode(data, file))
    except Unreadable as error:
        for trouble in (*error.before, error.trouble):
            findings.add(place_of(Source(file, Tree(None, trouble.mark)), trouble), *trouble[2:])
        raise SpecError(*findings.problems) from None
    clusters, pods = _sorted(documents, file, findings)
    if len(clusters) != 1:
        _count(clusters, file, bool(documents), findings)
    checked_pods = [pod for pod in (_pod(w, findings, warnings) for w in pods) if pod is not None]
    spec = None
    for written in clusters[:1]:
        spec = _cluster(written, overrides, topo, checked_pods, findings)
    problems = findings.problems
    if spec is None or problems:
        raise SpecError(*problems)
    warn_of_missing_routers(spec, warnings)
    warn_of_deaf_routers(spec, warnings)
    return Loaded(spec, warnings.problems)


def _sorted(
    documents: list[Document], file: str, findings: Findings
) -> tuple[list[_Written], list[_Written]]:
    """Clusters and pods; any other kind is a finding."""
    written: dict[str, list[_Written]] = {kind: [] for kind in KINDS}
    for document in documents:
        source = Source(file, document.tree, _prefix(document.tree))
        for trouble in document.troubles:
            findings.add(place_of(source, trouble), *trouble[2:])
        kind = get(document.tree, "kind")
        if not isinstance(document.tree.value, dict):
            found = show(document.tree.value, document.tree.text)
            findings.add(source.place(), found, "a mapping with apiVersion and kind")
        elif kind is None:
            findings.add(source.place("kind"), "nothing", "the field kind", _supported())
        elif not isinstance(kind.value, str):
            findings.add(source.place("kind"), show(kind.value, kind.text), one_of(KINDS))
        elif kind.value not in KINDS:
            findings.add(
                source.place("kind"),
                f"kind {kind.value}, which this version does not support",
                one_of(KINDS),
                nearest(kind.value, KINDS),
            )
        else:
            written[kind.value].append(_Written(source, document.troubles))
    return written["Cluster"], written["Pod"]


def _supported() -> str:
    return f"supported: {', '.join(KINDS)}"


def _prefix(tree: Tree) -> str:
    kind, name = get(tree, "kind"), get(tree, "metadata", "name")
    if kind is None or kind.value != "Pod" or name is None or not isinstance(name.value, str):
        return ""
    return f"Pod/{name.value[:63]} "


def _count(clusters: list[_Written], file: str, anything: bool, findings: Findings) -> None:
    expected = "one document with kind: Cluster"
    if not anything:
        findings.add(Place(file, 1, 1, "document"), "an empty file", expected)
    elif not clusters:
        findings.add(Place(file, 1, 1, "document"), "no document of kind Cluster", expected)
    for written in clusters[1:]:
        first = clusters[0].source.place("kind")
        findings.add(
            written.source.place("kind"), f"another Cluster; the first is at {first}", expected
        )


def _pod(written: _Written, findings: Findings, warnings: Findings) -> CheckedPod | None:
    document, checked = validate(
        PodDocument, written.source, written.troubles, STAND_INS["Pod"], findings
    )
    if document is None:
        return None
    at = checked.source.place
    for name in document.metadata.annotations:
        if name not in BANDWIDTH:
            warnings.add(
                at("metadata", "annotations", name, key=True),
                f'the annotation "{shortened(name)}"',
                "none but those of bandwidth",
                nearest(name, BANDWIDTH) or "it is not used",
            )
    for index, container in enumerate(document.spec.containers):
        if container.image is not None:
            warnings.add(
                at("spec", "containers", index, "image"),
                f'the image "{container.image}"',
                "a command, or nothing",
                "image is not used: a container runs its command with this machine's programs, "
                "or nothing",
            )
    return CheckedPod(document, checked.source)


def _cluster(
    written: _Written,
    overrides: Overrides,
    topo: TopoReader | None,
    pods: list[CheckedPod],
    findings: Findings,
) -> ResolvedSpec | None:
    tree = overridden(written.source.tree, overrides, findings)
    source = written.source._replace(tree=tree)
    full = written_out(source, topo, findings)
    document: ClusterDocument | None
    checked: Checked
    checkable = full or nodes_stood_in(source)
    document, checked = validate(
        ClusterDocument, checkable, written.troubles, STAND_INS["Cluster"], findings
    )
    if document is None or full is None:
        return None
    return resolve(document, full, checked, pods, findings)
