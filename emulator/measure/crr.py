"""The program behind the instrument ``connect``: a TCP connection for every transaction.

    python crr.py server --bind IP --port N --limit-s S [--request-b N] [--response-b N]
    python crr.py client --to IP --port N --seconds S --count N [--request-b N] [--response-b N]

Standard library only, and it imports nothing of the project, so that its text runs in
any place. The server answers one connection after the other and ends by itself after its limit.
The client stops at the time or at the count, whichever is first, and prints one JSON object with
the raw times in microseconds. It closes with linger 0 (a reset): no TIME_WAIT remains, and the
source port, which the kernel chooses anew for each connection, is free again at once. The
interpreter's own cost, about ten microseconds a transaction, is in the times.
"""

from __future__ import annotations

import argparse
import gc
import json
import socket
import struct
import sys
import time
from collections.abc import Sequence

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
REPLY_WITHIN_S = 1.0
WARM_UP = 20
MOST_ERRORS = 5


def receive(connection: socket.socket, count: int) -> None:
    """Read exactly ``count`` bytes; ConnectionError when the other end closes before."""
    while count:
        chunk = connection.recv(count)
        if not chunk:
            raise ConnectionError("closed within a message")
        count -= len(chunk)


def serve(bind_ip: str, port: int, limit_s: float, request_b: int, response_b: int) -> None:
    """Answer until ``limit_s`` have passed."""
    end = time.monotonic() + limit_s
    response = bytes(response_b)
    with socket.create_server((bind_ip, port), family=_family(bind_ip), backlog=128) as listener:
        while (left_s := end - time.monotonic()) > 0:
            listener.settimeout(left_s)
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                return
            with connection:
                connection.settimeout(REPLY_WITHIN_S)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    receive(connection, request_b)
                    connection.sendall(response)
                    connection.recv(1)
                except OSError:
                    # The client's reset, or a client that is gone: the next one counts.
                    continue


def transact(target: tuple[str, int], request: bytes, response_b: int) -> tuple[int, int]:
    """One transaction: nanoseconds to the end of the handshake, and to the end of the response."""
    begin = time.perf_counter_ns()
    with socket.socket(_family(target[0]), socket.SOCK_STREAM) as connection:
        connection.settimeout(REPLY_WITHIN_S)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        connection.connect(target)
        connected = time.perf_counter_ns()
        connection.sendall(request)
        receive(connection, response_b)
        return connected - begin, time.perf_counter_ns() - begin


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def ask(
    target: tuple[str, int], seconds: float, count: int, request_b: int, response_b: int
) -> dict[str, object]:
    """Transactions one after the other; the times, the errors and the time that it took."""
    request = bytes(request_b)
    errors: list[str] = []
    times: list[tuple[int, int]] = []
    warm_up = WARM_UP
    begin = time.monotonic()
    while len(times) < count and time.monotonic() - begin < seconds and len(errors) < MOST_ERRORS:
        try:
            took = transact(target, request, response_b)
        except OSError as error:
            errors.append(str(error) or type(error).__name__)
            continue
        if warm_up:
            warm_up -= 1
            begin = time.monotonic() if warm_up == 0 else begin
        else:
            times.append(took)
    return {
        "format": 1,
        "linger_s": 0,
        "warm_up": WARM_UP,
        "elapsed_s": time.monotonic() - begin,
        "errors": errors,
        "connect_us": [connect / 1000 for connect, _ in times],
        "total_us": [total / 1000 for _, total in times],
    }


def main(arguments: Sequence[str]) -> int:
    """The command line; 0 also when transactions failed, since the output says so."""
    parser = argparse.ArgumentParser(prog="crr", description="connect, request, response")
    ends = parser.add_subparsers(dest="end", required=True)
    server, client = ends.add_parser("server"), ends.add_parser("client")
    server.add_argument("--bind", required=True)
    server.add_argument("--limit-s", type=float, required=True)
    client.add_argument("--to", required=True)
    client.add_argument("--seconds", type=float, required=True)
    client.add_argument("--count", type=int, required=True)
    for end in (server, client):
        end.add_argument("--port", type=int, required=True)
        end.add_argument("--request-b", type=int, default=1)
        end.add_argument("--response-b", type=int, default=32)
    given = parser.parse_args(arguments)
    gc.disable()
    if given.end == "server":
        serve(given.bind, given.port, given.limit_s, given.request_b, given.response_b)
    else:
        target = (given.to, given.port)
        answer = ask(target, given.seconds, given.count, given.request_b, given.response_b)
        print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
