"""The two small programs: one takes what comes and says how much, the other sends too much."""

from __future__ import annotations

from typing import Final

RECEIVER: Final = """
import selectors, socket, sys
ip, port = sys.argv[1], int(sys.argv[2])
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind((ip, port))
tcp = socket.create_server((ip, port))
ready = selectors.DefaultSelector()
ready.register(udp, selectors.EVENT_READ)
ready.register(tcp, selectors.EVENT_READ)
came = {}
while True:
    for key, _ in ready.select():
        one = key.fileobj
        if one is udp:
            data, sender = udp.recvfrom(65536)
            udp.sendto(str(len(data)).encode(), sender)
        elif one is tcp:
            connection, _ = tcp.accept()
            came[connection] = 0
            ready.register(connection, selectors.EVENT_READ)
        else:
            try:
                data = one.recv(65536)
            except OSError:
                data = b""
            came[one] += len(data)
            if not data:
                ready.unregister(one)
                try:
                    one.sendall(str(came.pop(one)).encode())
                except OSError:
                    pass
                one.close()
"""
"""``IP PORT``: answers with the number of bytes, to a datagram at once, to a stream at its end."""

UDP: Final = """
import errno, json, socket, sys
ip, port, size, df, patience = sys.argv[1], *map(float, sys.argv[2:])
DISCOVER, DO, DONT, MTU, TRIES = 10, 2, 0, 14, 8
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.setsockopt(socket.IPPROTO_IP, DISCOVER, DO if df else DONT)
out.settimeout(patience / TRIES)
out.connect((ip, int(port)))
told = {"came_b": 0, "refused": False, "at_once": False, "mtu": 0, "tries": 0}
for number in range(TRIES):
    told.update(tries=number + 1, at_once=number == 0)
    try:
        out.send(bytes(int(size)))
        told["at_once"] = False
        told["came_b"] = int(out.recv(64))
        break
    except TimeoutError:
        continue
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise
        told["refused"] = True
        break
told["mtu"] = out.getsockopt(socket.IPPROTO_IP, MTU)
print(json.dumps(told))
"""
"""``IP PORT PAYLOAD DF PATIENCE``: one datagram until it is answered, refused, or patience ends.

``at_once``: its own stack refused the first, before anybody could tell it anything."""

TCP: Final = """
import json, socket, sys
ip, port, size, patience = sys.argv[1], *map(float, sys.argv[2:])
told = {"came_b": 0, "mss": 0}
out = socket.create_connection((ip, int(port)), timeout=patience)
try:
    out.sendall(bytes(int(size)))
    out.shutdown(socket.SHUT_WR)
    told["came_b"] = int(out.recv(64) or b"0")
except TimeoutError:
    pass
told["mss"] = out.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
print(json.dumps(told))
"""
"""``IP PORT BYTES PATIENCE``: a stream; ``came_b`` stays 0 when it stalls."""
