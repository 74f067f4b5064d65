"""The command line: verbs and arguments. What they do is in ``emulator.verbs``.

(Over 300 lines: it is a list, one entry for each verb.)
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Sequence

from emulator.errors import PodwireError, Problem
from emulator.verbs import BENCHES

_EPILOG = """\
exit codes: 0 good, 1 the check or run failed, 2 bad input, 3 unsupported here

a first tour:
  podwire check topologies/flannel-vxlan.yaml     is the spec good?
  podwire plan topologies/flannel-vxlan.yaml      what it becomes in the kernel
  podwire up topologies/flannel-vxlan.yaml        bring it up (no root needed)
  podwire get pods                                who is where
  podwire exec n1-p1 -- ping -c 2 10.244.2.2      a packet from pod to pod
  podwire verify                                  is everything as the model says?
  podwire apply topologies/flannel-host-gw.yaml   switch the pod network, live
  podwire down
"""


def parser() -> argparse.ArgumentParser:
    """The whole grammar of the command line (also what shell completion is made from)."""
    top = argparse.ArgumentParser(
        prog="podwire",
        description="Kubernetes pod networks from YAML as real kernel objects: built, verified, "
        "measured.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)

    def verb(name: str, text: str, example: str) -> argparse.ArgumentParser:
        return verbs.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=f"example: {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def spec(p: argparse.ArgumentParser, optional: bool = False) -> None:
        p.add_argument(
            "spec",
            nargs="?" if optional else None,
            help="a YAML file: a Cluster, optionally followed by v1/Pod manifests",
        )
        p.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="PATH=VALUE",
            help="change a value of the spec, e.g. spec.network.backend=host-gw (repeatable)",
        )

    def on(p: argparse.ArgumentParser) -> None:
        p.add_argument(
            "--on",
            choices=BENCHES,
            help="bench: this kernel, a guest with a kernel that has everything, for experiments "
            "one whose clock counts instructions, or the first that has what the spec needs "
            "(default: native, and a lab's verbs where the lab is)",
        )

    def lab(p: argparse.ArgumentParser) -> None:
        on(p)
        p.add_argument("--lab", metavar="NAME", help="which lab (default: the only one that runs)")

    def output(p: argparse.ArgumentParser, *more: str) -> None:
        p.add_argument(
            "-o",
            "--output",
            choices=("text", "json", *more),
            default="text",
            help="form of the output",
        )

    p = verb("check", "read a spec and say everything that is wrong in it", "podwire check x.yaml")
    spec(p, optional=True)
    output(p)
    p.add_argument(
        "--schema", action="store_true", help="print the JSON schema for editors; needs no spec"
    )

    p = verb(
        "plan",
        "print the kernel state that a spec compiles to",
        "podwire plan x.yaml -o sh   # the same as commands of ip, bridge, tc, nft, sysctl",
    )
    spec(p)
    output(p, "sh")
    p.add_argument("--node", metavar="NAME", help="only this namespace (a node, pod, switch …)")

    p = verb("up", "bring a cluster up; it stays until 'podwire down'", "podwire up x.yaml")
    spec(p)
    p.add_argument("--name", help="name of the lab (default: metadata.name)")
    p.add_argument("--timings", action="store_true", help="say where the time went, as JSON")
    on(p)

    p = verb("ls", "list the labs that run, with their processes", "podwire ls -o json")
    on(p)
    output(p)

    p = verb("get", "list what is in a lab", "podwire get pods -o wide")
    p.add_argument(
        "what",
        choices=("pods", "nodes", "hosts", "links", "processes", "faults", "spec", "plan", "state"),
        help="state is what the kernel holds now, in the form of a plan",
    )
    lab(p)
    output(p, "wide")

    p = verb(
        "exec",
        "run a program in a pod, node, router, switch or outside host",
        "podwire exec n1-p1 -- ip -br addr",
    )
    p.add_argument("place", help="the name of the place")
    p.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    lab(p)

    p = verb("shell", "a shell in a place", "podwire shell n1")
    p.add_argument("place", help="the name of the place")
    lab(p)

    p = verb(
        "cp",
        "copy a file into or out of a place; it writes below its own /run, /tmp, /var/lib, …",
        "podwire cp n1-p1:/tmp/out.json .   or   podwire cp app.py n1-p1:/tmp/",
    )
    p.add_argument("source", help="FILE or PLACE:/path")
    p.add_argument("target", help="FILE or PLACE:/path")
    lab(p)

    p = verb(
        "capture",
        "capture packets at an interface with tcpdump, into a file of yours or as text",
        "podwire capture n1:flannel.1 -w out.pcap --count 100",
    )
    p.add_argument("interface", help="PLACE:INTERFACE")
    p.add_argument("-w", "--write", metavar="FILE", help="write a pcap file (default: print text)")
    p.add_argument("--count", type=int, metavar="N", help="stop after N packets")
    p.add_argument("--seconds", type=float, metavar="S", help="stop after S seconds")
    p.add_argument("filter", nargs="*", help="a filter in tcpdump's words")
    lab(p)

    p = verb("cli", "Mininet's command line on the lab", "podwire cli")
    lab(p)

    p = verb(
        "apply",
        "change a running lab into another spec: only the difference is touched",
        "podwire apply x.yaml --set spec.network.backend=host-gw",
    )
    spec(p)
    lab(p)
    p.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")
    output(p)

    kinds = ("link", "interface", "node", "daemon")
    p = verb(
        "fail", "break something: a link, an interface, a node or a daemon", "podwire fail link n1"
    )
    p.add_argument("kind", choices=kinds)
    p.add_argument("target", help="a name (n1), NAME:INTERFACE or NAME:DAEMON (n1:bird)")
    lab(p)

    p = verb("heal", "mend one fault, or all of them", "podwire heal link n1")
    p.add_argument("kind", nargs="?", choices=kinds)
    p.add_argument("target", nargs="?")
    lab(p)

    p = verb(
        "verify",
        "compare the kernel with the plan, and probes of every pair with the network model",
        "podwire verify",
    )
    lab(p)
    output(p)
    p.add_argument("--no-probes", action="store_true", help="only compare kernel state")
    p.add_argument(
        "--wait",
        type=float,
        default=10.0,
        metavar="S",
        help="how long daemons may take to run again and converge (default: 10 seconds)",
    )
    p.add_argument("--matrix", action="store_true", help="show the matrix even when all is well")

    p = verb(
        "cni",
        "run a verb of CNI with the binaries of the lab's conflist",
        "podwire cni check n1-p1",
    )
    p.add_argument("action", choices=("add", "del", "check", "status", "gc", "version", "forget"))
    p.add_argument("place", nargs="?", default="", help="a pod or a node (default: all)")
    lab(p)
    output(p)

    p = verb("down", "end a lab; nothing of it remains", "podwire down")
    p.add_argument("name", nargs="?", help="which lab (default: the only one that runs)")
    p.add_argument("--all", action="store_true", help="every lab of this user")
    on(p)

    p = verb(
        "doctor",
        "say what this machine can run: privilege, limits, kernel features, tools, with remedies",
        "podwire doctor topologies/cluster-50x10.yaml",
    )
    p.add_argument("spec", nargs="?", help="compare global limits with what this spec needs")
    p.add_argument("--brief", action="store_true", help="only what is missing, or one good line")
    on(p)
    output(p)

    p = verb(
        "run",
        "run an experiment: blocks of all conditions, samples, statistics, figures",
        "podwire run overlay-vs-routed --quick",
    )
    p.add_argument("experiment", nargs="?", help="its name; without one: list them")
    p.add_argument("--quick", action="store_true", help="the small version, for a first look")
    p.add_argument("--blocks", type=int, metavar="N", help="how many blocks")
    p.add_argument("--precision", metavar="P%", help="go on until intervals are that narrow")
    p.add_argument("--seconds", type=float, metavar="S", help="time budget of the whole run")
    p.add_argument("--seed", type=int, help="seed of order and placement")
    p.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    p.add_argument("--results", default="results", metavar="DIR", help="where results go")
    p.add_argument("--only-measure", action="store_true", help=argparse.SUPPRESS)
    on(p)
    output(p)

    p = verb(
        "plot",
        "redraw the figures of stored results; needs neither root nor a lab",
        "podwire plot results/overlay-vs-routed/latest",
    )
    p.add_argument(
        "runs", nargs="*", help="result folders (default: the latest of each experiment)"
    )
    p.add_argument("--results", default="results", metavar="DIR")
    p.add_argument("--pgf", action="store_true", help="also write PGF for LaTeX")

    p = verb(
        "reproduce",
        "make the reference results of bench virtual again, and compare every sample",
        "podwire reproduce instructions",
    )
    p.add_argument("experiments", nargs="*", help="which (default: all that have a reference)")
    p.add_argument(
        "--renew", action="store_true", help="put the new runs into the place of the references"
    )
    p.add_argument(
        "--medians",
        action="store_true",
        help="a median that moved within its tolerance is good, also where every sample "
        "could be asked to be the same",
    )
    p.add_argument("--results", default="results", metavar="DIR", help="where results go")
    p.add_argument(
        "--reference", default="results/reference", metavar="DIR", help=argparse.SUPPRESS
    )
    output(p)

    p = verb(
        "vm",
        "the guest of bench vm: keep it, end it, run a program in it",
        "podwire vm exec -- uname -a",
    )
    p.add_argument(
        "action",
        choices=("up", "down", "status", "exec"),
        help="a guest starts when it is wanted and ends when nothing runs in it; after 'up' it "
        "stays until 'down'",
    )
    p.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")

    p = verb("completion", "print a completion script", "podwire completion bash > ~/.podwire.bash")
    p.add_argument("shell", choices=("bash", "zsh", "tcsh"), metavar="SHELL")
    return top


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    top = parser()
    arguments, rest = top.parse_known_args(argv)
    # argparse does not take up positional words again behind an option
    if rest and arguments.verb == "capture" and not any(word.startswith("-") for word in rest):
        arguments.filter += rest
    elif rest:
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    if arguments.verb == "exec":
        # to argparse everything behind the place is the command; kubectl has options there too
        match arguments.command:
            case ["--lab", name, *command]:
                arguments.lab, arguments.command = name, command
            case [word, *_] if word.startswith("-") and word != "--":
                top.error("options go before the place, the command behind --")
    arguments.words = list(sys.argv[1:] if argv is None else argv)
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    # whoever starts us may have closed files, or ignore the end of children
    if None in (sys.stdin, sys.stdout, sys.stderr):
        from emulator.substrate import libc

        libc.stdio_open()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        return _run(_parse(argv))
    finally:
        try:
            sys.stdout.flush()
        except OSError:  # it has been told; the interpreter would try again at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _run(arguments: argparse.Namespace) -> int:
    code = 0
    try:
        from emulator.verbs import run

        code = run(arguments)
        sys.stdout.flush()
    except PodwireError as error:
        print(f"podwire {arguments.verb}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"podwire {arguments.verb}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # who reads has enough
        return code
    except OSError as error:
        print(f"podwire {arguments.verb}: {_of_the_system(error)}", file=sys.stderr)
        return 1
    return code


def _of_the_system(error: OSError) -> PodwireError:
    """An error of the system that no place has said more about."""
    remedies = {
        errno.ENOSPC: "the disk is full: free some space",
        errno.EDQUOT: "your quota is used up: free some space",
        errno.EMFILE: "raise the limit on open files: ulimit -n 4096",
        errno.ENFILE: "the system has no more open files: raise fs.file-max",
        errno.EAGAIN: "too many processes: raise ulimit -u, or end some",
        errno.ENOMEM: "the memory is used up: end something, or take a smaller cluster",
    }
    place = error.filename or "the system"
    found = error.strerror or str(error)
    return PodwireError(
        Problem(str(place), found, "it to work", remedies.get(error.errno or 0, ""))
    )


if __name__ == "__main__":
    sys.exit(main())
