"""The two ends of a stream: how long it took until the other one had all of it."""

from __future__ import annotations

from typing import Final

SENDER: Final = """
import json, socket, sys, time
ip, port, size, patience = sys.argv[1], *map(float, sys.argv[2:])
told = {"came_b": 0, "elapsed_s": 0.0, "steady_b": 0, "steady_s": 0.0, "mss": 0}
begin = time.monotonic()
out = socket.create_connection((ip, int(port)), timeout=patience)
try:
    data, left = bytes(65536), int(size)
    while left:
        left -= out.send(data[:left])
    out.shutdown(socket.SHUT_WR)
    said = out.recv(200)
    if said:
        told.update(json.loads(said))
except TimeoutError:
    pass
told["elapsed_s"] = time.monotonic() - begin
told["mss"] = out.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
print(json.dumps(told))
"""
"""``IP PORT BYTES PATIENCE``: patience is what a pause may last."""

RECEIVER: Final = """
import json, socket, sys, time
SO_MEMINFO = 55  # of it the first number: bytes received that nobody has read
ip, port, skip = sys.argv[1], *map(int, sys.argv[2:])
server = socket.create_server((ip, port))
while True:
    connection, _ = server.accept()
    came, since, before = 0, None, 0
    while True:
        if since is None and came >= skip:
            if not any(connection.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4)):
                since, before = time.monotonic(), came
        try:
            data = connection.recv(65536)
        except OSError:
            break
        if not data:
            break
        came += len(data)
        last = time.monotonic()
    told = {"came_b": came, "steady_b": 0, "steady_s": 0.0}
    if since is not None and came > before:
        told.update(steady_b=came - before, steady_s=last - since)
    try:
        connection.sendall(json.dumps(told).encode())
    except OSError:
        pass
    connection.close()
"""
"""``IP PORT SKIP``: one stream after the other; ``steady`` is what came after the first bytes.

Counting begins in a moment when so much came and nothing waits, neither to be read nor, out of
order, for a segment that is missing: what came before is not counted in no time."""
