from __future__ import annotations

import io
import lzma
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.bench.virtual import archive, package
from emulator.bench.virtual.archive import Entry
from emulator.errors import PodwireError

names = st.lists(
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8),
    min_size=1, max_size=3,
).map("/".join)  # fmt: skip


def unpacked(data: bytes) -> dict[str, Entry]:
    """By the format's description, and independent of what wrote it."""
    found: dict[str, Entry] = {}
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        numbers = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        name = data[at + 110 : at + 110 + numbers[11] - 1].decode()
        at += 110 + numbers[11]
        at += -at % 4
        if name == "TRAILER!!!":
            assert not data[at:].strip(b"\0")
            return found
        found[name] = Entry(numbers[1], data[at : at + numbers[6]])
        at += numbers[6]
        at += -at % 4


@given(st.dictionaries(names, st.binary(max_size=9)))
def test_an_archive_holds_what_it_was_given_and_all_folders(files: dict[str, bytes]) -> None:
    leaves = {
        name: archive.file(content)
        for name, content in files.items()
        if not any(other.startswith(f"{name}/") for other in files)
    }
    data = b"".join(archive.pack(leaves))
    found = unpacked(data)
    assert {n: e for n, e in found.items() if not stat.S_ISDIR(e.mode)} == leaves
    assert list(found) == sorted(found), "a folder comes before what is in it"
    assert all("/" not in name or name.rpartition("/")[0] in found for name in found)
    assert data == b"".join(archive.pack(dict(reversed(leaves.items()))))


def test_cpio_reads_it(tmp_path: Path) -> None:
    program = shutil.which("busybox") or "busybox"
    entries = {
        "bin/tool": archive.file(b"#!/bin/sh\n", executable=True),
        "etc/name": archive.file(b"x" * 5),
        "lib": archive.link("usr/lib"),
    }
    data = b"".join(archive.pack(entries))
    subprocess.run([program, "cpio", "-i", "-d"], input=data, cwd=tmp_path, check=True)
    assert (tmp_path / "bin" / "tool").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "etc" / "name").read_bytes() == b"xxxxx"
    assert (tmp_path / "lib").readlink() == Path("usr/lib")


def deb(**members: bytes) -> bytes:
    parts = [b"!<arch>\n"]
    for name, content in members.items():
        head = f"{name.replace('__', '.'):<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n"
        parts += [head.encode(), content, b"\n" * (len(content) % 2)]
    return b"".join(parts)


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, kind, target in (
            ("./bin/one", tarfile.REGTYPE, ""),
            ("./usr/bin/two", tarfile.LNKTYPE, "./bin/one"),
            ("./lib64/ld.so", tarfile.SYMTYPE, "../lib/x.so"),
            ("./etc", tarfile.DIRTYPE, ""),
            ("./dev/null", tarfile.CHRTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode = kind, target, 0o4755
            info.size = 3 if kind == tarfile.REGTYPE else 0
            made.addfile(info, io.BytesIO(b"abc"))
    return out.getvalue()


def test_a_package_is_read_without_dpkg() -> None:
    made = deb(debian_binary=b"2.0\n", control__tar__xz=b"x", data__tar__xz=lzma.compress(tar()))
    assert dict(package.files("one.deb", made)) == {
        "usr/bin/one": Entry(stat.S_IFREG | 0o755, b"abc"),
        "usr/bin/two": Entry(stat.S_IFREG | 0o755, b"abc"),
        "usr/lib64/ld.so": archive.link("../lib/x.so"),
        "etc": archive.FOLDER,
    }


@pytest.mark.parametrize(
    "content", [b"", b"!<arch>\n", b"!<arch>\nnonsense" + b" " * 60, deb(data__tar__xz=b"no tar")]
)
def test_what_is_no_package_is_named(content: bytes) -> None:
    with pytest.raises(PodwireError, match=r"one\.deb"):
        list(package.files("one.deb", content))
