"""The program behind the instrument ``arrivals``: numbered datagrams at a fixed pace.

    python stream.py receive --bind IP --port N --limit-s S
    python stream.py send --to IP --port N --rate R --seconds S [--size B]

Standard library only, and it imports nothing of the project, so that its text runs in
any place. The pace is a timetable, so that a late datagram does not make those after it late.
Both ends print one JSON object with times of the monotonic clock, which all places of a machine
share. The receiver ends with the last datagram, which is sent several times, or at its limit.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import sys
import time
from collections.abc import Sequence

NUMBER = struct.Struct("!I")
LAST = 0xFFFFFFFF
LAST_TIMES = 5


def send(target: tuple[str, int], rate: float, seconds: float, size_b: int) -> dict[str, object]:
    """When each datagram was handed to the kernel, and how many of them it refused."""
    sent_ns: list[int] = []
    refused = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:

        def one(number: int) -> bool:
            try:
                out.sendto(NUMBER.pack(number).ljust(size_b, b"\0"), target)
            except OSError:
                return False
            return True

        begin_ns = time.monotonic_ns()
        for number in range(round(rate * seconds)):
            due_ns = begin_ns + round(number * 1e9 / rate)
            while (left_ns := due_ns - time.monotonic_ns()) > 0:
                time.sleep(left_ns / 1e9)
            sent_ns.append(time.monotonic_ns())
            refused += not one(number)
        for _ in range(LAST_TIMES):
            one(LAST)
            time.sleep(0.01)
    return {"format": 1, "sent_ns": sent_ns, "refused": refused}


def receive(bind_ip: str, port: int, limit_s: float) -> dict[str, object]:
    """(number, time) of each datagram in the order of arrival."""
    end = time.monotonic() + limit_s
    arrived: list[tuple[int, int]] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        listener.bind((bind_ip, port))
        while (left_s := end - time.monotonic()) > 0:
            listener.settimeout(left_s)
            try:
                data = listener.recv(65_535)
            except TimeoutError:
                break
            now_ns = time.monotonic_ns()
            if len(data) >= NUMBER.size:
                (number,) = NUMBER.unpack_from(data)
                if number == LAST:
                    break
                arrived.append((number, now_ns))
    return {"format": 1, "arrived_ns": arrived}


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="stream", description="numbered datagrams")
    ends = parser.add_subparsers(dest="end", required=True)
    receiver, sender = ends.add_parser("receive"), ends.add_parser("send")
    receiver.add_argument("--bind", required=True)
    receiver.add_argument("--limit-s", type=float, required=True)
    sender.add_argument("--to", required=True)
    sender.add_argument("--rate", type=float, required=True)
    sender.add_argument("--seconds", type=float, required=True)
    sender.add_argument("--size", type=int, default=64)
    for end in (receiver, sender):
        end.add_argument("--port", type=int, required=True)
    given = parser.parse_args(arguments)
    if given.end == "receive":
        answer = receive(given.bind, given.port, given.limit_s)
    else:
        answer = send((given.to, given.port), given.rate, given.seconds, given.size)
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
