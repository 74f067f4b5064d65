"""Command lines that run a script in a user and mount namespace of its own, as root there.

What the script mounts, and the limits that it sets, are for its own commands alone.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence


def nested(*steps: str | Sequence[str]) -> list[str]:
    """Steps one after the other, until one fails; a list of words is a single command."""
    texts = [step if isinstance(step, str) else shlex.join(step) for step in steps]
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", "\n".join(texts)]


def powerless(argv: Sequence[str]) -> list[str]:
    """The command without the capability to make namespaces other than of users."""
    return ["setpriv", "--bounding-set=-sys_admin", *argv]
