from __future__ import annotations

import hashlib
import io
import lzma
import stat
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from emulator.bench.virtual import fetch, lock, tree
from emulator.bench.virtual.lock import Lock, Package, Wheel
from emulator.errors import PodwireError, Unsupported
from emulator.place import Completed


def package(name: str, content: bytes, *roles: lock.Role) -> Package:
    digest = hashlib.sha256(content).hexdigest()
    return Package(name, "1", "debian", f"pool/{name}.deb", len(content), digest, roles)


A, B = package("a", b"a", "guest"), package("b", b"b", "guest", "host")
SECURE = package("c", b"c", "host")._replace(archive="debian-security")
W = Wheel("w==1", "w-1-py3-none-any.whl", hashlib.sha256(b"w").hexdigest())
NEEDED = (
    package("linux-image-6.1", b"l", "kernel"), package("python3.11-minimal", b"p", "guest"),
    package("qemu-system-x86", b"q", "host"),
)  # fmt: skip
LOCK = Lock("20261122", (A, B, SECURE), (W,))
WHOLE = LOCK._replace(packages=(*LOCK.packages, *NEEDED))


# --- the lock ------------------------------------------------------------------------------


def test_a_lock_reads_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    path.write_text(lock.text(WHOLE))
    assert lock.read(path) == WHOLE
    assert len(path.read_text().splitlines()) == 13, "a line for each package"


def test_the_digest_is_of_contents_and_what_they_are_for() -> None:
    moved = LOCK._replace(taken="20270101", packages=(B, A._replace(path="elsewhere"), SECURE))
    assert moved.digest == LOCK.digest
    for other in ((A, B), (A._replace(roles=("guest", "host")), B, SECURE)):
        assert LOCK._replace(packages=other).digest != LOCK.digest


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "taken": "x"}'])
def test_what_is_no_lock_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock.json").write_text(text)
    with pytest.raises(PodwireError, match=r"lock\.json.*format 1"):
        lock.read(tmp_path / "lock.json")


def test_half_a_lock_is_named(tmp_path: Path) -> None:
    path, whole = tmp_path / "lock.json", lock.text(WHOLE)
    for at in range(0, len(whole) - 3, 7):
        path.write_text(whole[:at])
        with pytest.raises(PodwireError, match=r"lock\.json.*\n.*make virtual-lock"):
            lock.read(path)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ((A._replace(sha256="../../x"),), r"a with sha256 '\.\./\.\./x'"),
        ((A._replace(sha256=None),), "TypeError"),  # type: ignore[arg-type]
        ((A._replace(roles=()),), r"a with roles \[\]"),
        ((A._replace(roles="guest"),), r"a with roles \['g', "),  # type: ignore[arg-type]
        ((NEEDED[0],), "2 packages linux-image- for role kernel"),
    ],
)
def test_a_lock_that_says_what_cannot_be_is_named(
    tmp_path: Path, other: tuple[Package, ...], words: str
) -> None:
    path = tmp_path / "lock.json"
    path.write_text(lock.text(WHOLE._replace(packages=(*WHOLE.packages, *other))))
    with pytest.raises(PodwireError, match=words):
        lock.read(path)


@pytest.mark.parametrize("missing", range(len(NEEDED)))
def test_a_lock_without_what_every_image_needs(tmp_path: Path, missing: int) -> None:
    path = tmp_path / "lock.json"
    left = [one for one in NEEDED if one != NEEDED[missing]]
    path.write_text(lock.text(WHOLE._replace(packages=(*LOCK.packages, *left))))
    with pytest.raises(PodwireError, match=f"found 0 packages {NEEDED[missing].name[:12]}"):
        lock.read(path)


def test_the_lock_of_the_project_has_what_the_bench_needs() -> None:
    found = lock.read()
    assert [one.name.startswith("linux-image-6") for one in found.of("kernel")] == [True]
    assert {"libc6", "python3.11-minimal", "nftables"} <= {one.name for one in found.of("guest")}
    assert {"libc6", "qemu-system-x86", "seabios"} <= {one.name for one in found.of("host")}
    assert {"libc6", "cpp-12", "linux-libc-dev"} <= {one.name for one in found.of("compiler")}
    assert all(len(one.sha256) == 64 for one in found.packages)
    assert sum(one.size_b for one in found.packages) < 220e6


# --- fetching ------------------------------------------------------------------------------


class Network:
    """Mirrors by the beginning of an address, and what they have."""

    def __init__(self, **has: bytes) -> None:
        self.has, self.asked = has, list[str]()

    def run(self, argv: list[str], *, timeout_s: float, **_: Any) -> Completed:
        if argv[0] == "apt-get":
            return Completed(tuple(argv), 0, b"http://near/debian\nhttp://near/ubuntu\n", b"")
        if argv[0] == fetch.HELPER:
            for url, to in zip(argv[3::3], argv[4::3], strict=True):
                self.asked.append(url)
                if (name := Path(url).stem) in self.has and "deb.debian.org" not in url:
                    Path(to).write_bytes(self.has[name])
            return Completed(tuple(argv), 100, b"", b"E: no luck: Hash Sum mismatch\nE: Failed\n")
        (Path(argv[argv.index("-d") + 1]) / W.file).write_bytes(self.has.get("w", b""))
        return Completed(tuple(argv), 0, b"", b"")


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Network:
    found = Network(a=b"a", b=b"b", c=b"c", w=b"w")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(fetch, "run_on_host", found.run)
    monkeypatch.setattr(fetch.os, "access", lambda path, how: True)
    return found


def test_each_is_asked_for_where_it_may_be_and_only_once(net: Network) -> None:
    said: list[str] = []
    found = fetch.fetched(LOCK, said.append)
    assert {path.read_bytes() for path in found.values()} == {b"a", b"b", b"c", b"w"}
    assert net.asked == [
        "http://near/debian/pool/a.deb",
        "http://near/debian/pool/b.deb",
        "https://deb.debian.org/debian-security/pool/c.deb",
        "https://snapshot.debian.org/archive/debian-security/20261122T235959Z/pool/c.deb",
    ]
    assert fetch.fetched(LOCK, said.append) == found
    assert len(net.asked) == 4 and len(said) == 1


def test_what_has_another_sum_is_not_taken(net: Network) -> None:
    net.has["b"] = b"another"
    with pytest.raises(Unsupported, match=r"(?s)b 1 is nowhere to be had \(1 .*Hash Sum mismatch"):
        fetch.fetched(LOCK, lambda text: None)
    net.has["b"] = b"b"
    assert len(fetch.fetched(LOCK, lambda text: None)) == 4


def test_a_damaged_cache_is_mended(net: Network) -> None:
    found = fetch.fetched(LOCK, lambda text: None)
    found[A.sha256].write_bytes(b"half")
    assert fetch.fetched(LOCK, lambda text: None)[A.sha256].read_bytes() == b"a"


def test_without_apt_it_says_so(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch.os, "access", lambda path, how: False)
    with pytest.raises(Unsupported, match=r"no /usr/lib/apt/apt-helper.*\n.*Debian or Ubuntu"):
        fetch.fetched(LOCK, lambda text: None)


def test_a_full_disk_is_not_taken_for_a_mirror_that_has_nothing(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda path: SimpleNamespace(free=2))
    with pytest.raises(PodwireError, match=r"0 MB free.*\n.*free some space"):
        fetch.fetched(LOCK, lambda text: None)
    assert net.asked == []


def test_what_is_there_already_needs_no_apt(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    found = fetch.fetched(LOCK, lambda text: None)
    monkeypatch.setattr(fetch.os, "access", lambda path, how: False)
    assert fetch.fetched(LOCK, lambda text: None) == found


# --- the guest's files ---------------------------------------------------------------------


def deb(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, content in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size, info.mode = len(content), 0o755
            made.addfile(info, io.BytesIO(content))
    data = lzma.compress(out.getvalue())
    head = f"{'data.tar.xz':<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n"
    return b"!<arch>\n" + head.encode() + data + b"\n" * (len(data) % 2)


def test_the_tree_has_what_packages_scripts_would_have_made() -> None:
    kernel = deb(
        {
            "lib/modules/6.1/kernel/net/bridge/bridge.ko": b"bridge",
            "lib/modules/6.1/kernel/drivers/net/veth.ko": b"veth",
            "lib/modules/6.1/kernel/drivers/net/ethernet/card.ko": b"card",
            "lib/modules/6.1/kernel/sound/card.ko": b"card",
        }
    )
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as made:
        made.writestr("pydantic/__init__.py", "x = 1\n")
        made.writestr("mininet.data/scripts/mn", "no")
    packages = [("one", deb({"bin/busybox": b"b", "bin/ps": b"ps", "usr/share/doc/one/x": b"x"}))]
    found = tree.guest(packages, ("linux", kernel), [wheel.getvalue()])
    modules_there = [Path(name).name for name in found if name.endswith(".ko")]
    assert sorted(modules_there) == ["bridge.ko", "veth.ko"]
    assert found["bin"].content == b"usr/bin" and stat.S_ISLNK(found["bin"].mode)
    assert found["usr/bin/ps"].content == b"ps", "a package's own program"
    assert found["usr/bin/sh"].content == b"dash"
    assert found["usr/bin/awk"].content == b"busybox"
    assert found[f"{tree.SITE}/pydantic/__init__.py"].content == b"x = 1\n"
    assert not [name for name in found if "doc" in name or "mininet.data" in name]
