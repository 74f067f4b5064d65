"""What the documents say is there: links, verbs, targets, modules, options."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from emulator.cli import main, parser
from emulator.verbs import _MODULES

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("experiments/*/README.md")),
    ROOT / "results/README.md",
]
TEXT = {page: page.read_text() for page in PAGES}
MAKEFILE = (ROOT / "Makefile").read_text()
PROSE = {page: re.sub(r"^```.*?^```", "", text, flags=re.M | re.S) for page, text in TEXT.items()}
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def verbs() -> dict[str, argparse.ArgumentParser]:
    (action,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", TEXT[page], flags=re.M)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", PROSE[page]):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        if not goal.exists() or (anchor and anchor not in anchors(goal)):
            dead.append(target)
    assert dead == []


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs/README.md"
    linked = {
        (index.parent / target.partition("#")[0]).resolve()
        for target in re.findall(r"\]\(([^)\s]+)\)", TEXT[index])
    }
    pages = set((ROOT / "docs").rglob("*.md")) - {index}
    assert sorted(pages - linked) == []


def test_every_verb_is_described() -> None:
    words = " ".join(TEXT.values())
    assert [verb for verb in verbs() if f"podwire {verb}" not in words] == []
    assert set(_MODULES) == set(verbs())


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_are_of_the_grammar(page: Path) -> None:
    known = verbs()
    wrong = []
    for words in re.findall(r"(?:`|^\s*(?:\$ )?)podwire ([a-z]+)([^`\n]*)", TEXT[page], re.M):
        verb, rest = words
        if verb == "again":  # the name of an arm
            continue
        if verb not in known:
            wrong.append(f"podwire {verb}")
            continue
        options = known[verb]._option_string_actions
        rest = re.split(r" -- |[|>#;&]|  ", rest)[0]
        wrong += [
            f"podwire {verb} {option}"
            for option in re.findall(r"(?<=\s)--?[a-z][a-z-]*", rest)
            if option not in options
        ]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_named_in_commands_exist(page: Path) -> None:
    named = re.findall(r"(?:topologies|tests|emulator|experiments)/[\w./-]+\w", PROSE[page])
    examples = ("static", "hops")  # what the how-tos make
    missing = [
        name
        for name in named
        if not (ROOT / name).exists() and not any(word in name for word in examples)
    ]
    assert missing == []


def test_make_targets_of_the_documents_exist_and_are_in_the_help() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, flags=re.M))
    named = set(re.findall(r"(?:`|^\s*(?:- run: )?)make ([a-z-]+)", "\n".join(TEXT.values()), re.M))
    assert named - targets == set()
    phony = next(row for row in MAKEFILE.splitlines() if row.startswith(".PHONY:")).split()[1:]
    hidden = ["packages", "vm-packages"]
    assert targets | set(hidden) == set(phony)
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [target for target in phony if f"make {target} " not in shown.stdout] == hidden


def test_packages_are_explained() -> None:
    page = TEXT[ROOT / "docs/dependencies.md"]
    rows = {
        name
        for row in re.findall(r"^\| ([a-zA-Z0-9, -]+) \|", page, re.M)
        for name in row.split(", ")
    }
    debian = {
        pair.partition("=")[0]
        for block in re.findall(r"^FOR_\w+ := (.*?[^\\])\n", MAKEFILE, re.M | re.S)
        for pair in block.replace("\\\n", " ").split()
    }
    project = (ROOT / "pyproject.toml").read_text().partition("[project.scripts]")[0]
    python = set(re.findall(r'^    "([A-Za-z0-9-]+)', project, re.M))
    assert (debian | python) - rows == set()
    assert rows - debian - python == {"package"}


def test_budgets_are_those_of_the_stages() -> None:
    page = TEXT[ROOT / "docs/ci.md"]
    told = {name: int(s) for name, s in re.findall(r"^\| ([\w-]+) \|.*\| (\d+) s \|$", page, re.M)}
    stages = re.findall(r"^(?:stage|beside) (\w+) (\d+) ", (ROOT / ".ci/stages").read_text(), re.M)
    assert told == {"set-up": 180} | {name: int(seconds) for name, seconds in stages}
    beside = {name: told.pop(name) for name in ("vm", "unit", "virtual")}
    assert sum(told.values()) <= 1800
    assert beside["vm"] <= told["root"] + told["user"] + told["smoke"]
    assert max(beside["unit"], beside["virtual"]) <= told["user"] + told["smoke"]


def test_decision_records_are_numbered_and_have_their_parts() -> None:
    records = sorted((ROOT / "docs/decisions").glob("*.md"))
    for number, record in enumerate(records, 1):
        assert record.name.startswith(f"{number:04}-")
        assert TEXT[record].startswith(f"# {number:04}: ")
        for part in ("Context", "Options", "Decision"):
            assert f"\n## {part}\n" in TEXT[record], (record.name, part)


def test_the_schema_needs_no_spec(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--schema"]) == 0
    assert "json-schema.org" in json.loads(capsys.readouterr().out)["$schema"]


def test_check_without_a_spec_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 2
    assert "no spec" in capsys.readouterr().err


def test_every_room_is_in_the_table_and_in_the_order_of_imports() -> None:
    rooms = {
        entry.stem + "/" * entry.is_dir()
        for entry in (ROOT / "emulator").iterdir()
        if (entry.suffix == ".py" or (entry / "__init__.py").exists())
        and not entry.stem.startswith("_")
    }
    table = TEXT[ROOT / "docs/architecture.md"].partition("## Rooms")[2].partition("\n\n")[0]
    assert rooms - set(re.findall(r"`([a-z_]+/?)`", table)) == set()
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (order,) = (c["layers"] for c in contracts["contracts"] if c["type"] == "layers")
    ordered = {name for layer in order for name in re.split(r" [|:] ", layer)}
    assert {f"emulator.{room.rstrip('/')}" for room in rooms} - ordered == set()
