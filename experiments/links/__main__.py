"""``python -m experiments.links``: every feature of a link against theory, as a table.

Exit code 0 when all hold, 1 when one does not, 3 when the kernel or the bench lacks one.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence

from emulator.errors import PodwireError
from experiments.links import table, virtual
from experiments.links.features import HERE, Feature, features
from experiments.links.rejected import rejected


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.links", description=__doc__)
    names = tuple(dict.fromkeys(one.name for one in virtual.FEATURES))
    parser.add_argument(
        "--on", choices=("native", "virtual"), default="native",
        help="this kernel (the default), or guests whose clock counts instructions",
    )  # fmt: skip
    parser.add_argument("--only", action="append", choices=names, help="only these features")
    parser.add_argument(
        "--rejected", action="store_true", help="what of netem is not offered, and why"
    )
    given = parser.parse_args(arguments)
    every = virtual.FEATURES if given.on == "virtual" else tuple(features(HERE))
    wanted = [one for one in every if given.only is None or one.name in given.only]
    if given.on == "virtual":
        rows = virtual.rejections() if given.rejected else virtual.rows(wanted)
    else:
        rows = _here(wanted, given.rejected)
    try:
        return table.shown(rows)
    except PodwireError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _here(wanted: Sequence[Feature], not_offered: bool) -> Iterator[Sequence[str]]:
    with table.bench(f"links-{os.getpid()}") as bench:
        if not_offered:
            yield from rejected(bench.cluster, bench.ends, bench.base_us)
            return
        for feature in wanted:
            yield from bench.rows(feature)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
