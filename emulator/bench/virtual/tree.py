"""The guest's files, from the packages of the lock and our own sources. Pure.

Nothing of a package is run: what its scripts would do and a lab needs is done here.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from emulator.bench.virtual import modules, package
from emulator.bench.virtual.archive import FOLDER, Entry, file, link

_LIBRARIES: Final = "usr/lib/x86_64-linux-gnu"
_LOADER: Final = f"{_LIBRARIES}/ld-linux-x86-64.so.2"
"""Not the link of that name in ``lib64``: it leads out of its root, to the loader of the user's."""
PYTHON: Final = "usr/bin/python3.11"
SITE: Final = "opt/podwire"
"""Where the guest's Python finds wheels and our own sources."""
LEFT_OUT: Final = re.compile(
    r"usr/share/(doc|man|info|locale|lintian|perl|perl5|bash-completion|zsh|doc-base|bug|gdb)(/|$)"
    r"|usr/lib/(systemd|udev|init|tmpfiles\.d|sysusers\.d|x86_64-linux-gnu/gconv)(/|$)"
    r"|usr/lib/python3/"
    r"|usr/lib/python3\.11/(test|idlelib|lib2to3|ensurepip|pydoc_data|tkinter|unittest/test)(/|$)"
    r"|etc/(init\.d|rc.\.d|systemd|pam\.d|cron.*|apparmor\.d|dbus-1|default)(/|$)|boot/|var/"
)
LINKS: Final = {
    **{name: f"usr/{name}" for name in ("bin", "sbin", "lib", "lib64")},
    **{f"usr/sbin/{name}": "xtables-nft-multi" for name in (
        "iptables", "iptables-save", "iptables-restore",
        "ip6tables", "ip6tables-save", "ip6tables-restore",
    )},
    "usr/bin/python3": "python3.11",
    "usr/bin/sh": "dash",  # busybox's runs its own ip, whatever the PATH says
    "var/run": "/run",
}  # fmt: skip
APPLETS: Final = (
    "awk", "basename", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "dirname",
    "dmesg", "echo", "env", "expr", "false", "find", "grep", "head", "hostname", "id", "kill",
    "ln", "ls", "mkdir", "mkfifo", "mknod", "mount", "mv", "nproc", "od", "poweroff",
    "printf", "ps", "readlink", "rm", "rmdir", "sed", "seq", "setsid", "sleep", "sort",
    "stat", "stty", "sync", "sysctl", "tail", "tar", "tee", "test", "timeout", "touch", "tr",
    "true", "umount", "uname", "uniq", "wc", "which", "xargs", "yes",
)  # fmt: skip
"""What busybox is called as, where no package has the program itself."""
FOLDERS: Final = (
    "dev", "proc", "sys", "run", "tmp", "root", "mnt", "home", "etc/netns", "var/lib", "var/log",
    "var/cache", "var/tmp", "opt",
)  # fmt: skip
INIT: Final = b"""\
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
mount -t devpts -o ptmxmode=666 pts /dev/pts
for place in /dev/shm /tmp /run; do mount -t tmpfs none $place; done
mount -t cgroup2 none /sys/fs/cgroup
ip link set lo up
modprobe -a qemu_fw_cfg tun veth bridge br_netfilter vxlan nf_tables tcp_bbr
stty -F /dev/ttyS1 raw
cd /root
export PATH=/usr/sbin:/usr/bin HOME=/root LANG=C.UTF-8
export PYTHONHASHSEED=0 PYTHONPATH=/opt/podwire PYTHONDONTWRITEBYTECODE=1
python3.11 /opt/boot.py emulator.verbs.errands
poweroff -f
"""
FILES: Final = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": b"root:x:0:\nnogroup:x:65534:\n",
    "etc/hostname": b"podwire\n",
    "etc/hosts": b"127.0.0.1 localhost\n::1 localhost\n",
    "etc/resolv.conf": b"",
    "etc/nsswitch.conf": b"passwd: files\ngroup: files\nhosts: files\n",
}


def guest(
    packages: Iterable[tuple[str, bytes]], kernel: tuple[str, bytes], wheels: Iterable[bytes]
) -> dict[str, Entry]:
    """Names and entries of the whole tree, but what is our own. PodwireError for a damaged
    package."""
    found: dict[str, Entry] = {name: FOLDER for name in FOLDERS}
    for name, content in packages:
        found |= {
            path: one for path, one in package.files(name, content)
            if path and not LEFT_OUT.match(path)
        }  # fmt: skip
    for content in wheels:
        found |= {f"{SITE}/{path}": one for path, one in _wheel(content)}
    found |= _modules(dict(package.files(*kernel)))
    for name, target in LINKS.items():
        found[name] = link(target)
    for name in APPLETS:
        if not any(f"usr/{folder}/{name}" in found for folder in ("bin", "sbin")):
            found[f"usr/bin/{name}"] = link("busybox")
    for path, content in FILES.items():
        found[path] = file(content)
    found["init"] = file(INIT, executable=True)
    return found


def program(root: Path, name: str) -> list[str]:
    """How a program of an unpacked root is started, with its own loader and libraries."""
    return [str(root / _LOADER), "--library-path", str(root / _LIBRARIES), str(root / name)]


def _modules(kernel: Mapping[str, Entry]) -> dict[str, Entry]:
    (root,) = {m[0] for name in kernel if (m := re.match(r"usr/lib/modules/[^/]+", name))}
    return modules.chosen(root, kernel)


def _wheel(content: bytes) -> Iterable[tuple[str, Entry]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            if not name.endswith("/") and ".data/" not in name:
                yield name, file(archive.read(name), executable=name.endswith(".so"))
