"""Tunnels that a namespace has without anybody's asking, taken into use and given back.

The kernel chooses the index of such a device, and keeps it when somebody deletes it.
"""

from __future__ import annotations

import errno

from emulator.plan.resources import Tunnel
from emulator.substrate import encode, rtnl, tunnel
from emulator.substrate.namespaces import Namespaces
from emulator.substrate.netlink import Message, Netlink, attr_str
from emulator.substrate.refusal import refused


def take(spaces: Namespaces, r: Tunnel) -> None:
    """Have it there, and know its index. KernelRefused.

    To ask for one loads the module, which may make it: then the request comes too late.
    """
    socket = spaces.socket(r.ns)
    number = _index(socket, r.name)
    if not number:
        # without an index of ours: the kernel's counter must not meet it later
        refusals = socket.send([tunnel.tunnel(r, lambda ns, name: 0, None)])
        number = _index(socket, r.name)
        if not number:
            for _, code, words in refusals:
                raise refused(r, code, words)
            raise refused(r, errno.ENODEV, "")
    spaces.learn(r.ns, r.name, number)


def give_back(spaces: Namespaces, r: Tunnel) -> None:
    """As it was before anybody took it: without addresses, and down. KernelRefused."""
    socket = spaces.socket(r.ns)
    number = _index(socket, r.name)
    if not number:
        return  # one that no module had made, and that is gone like any other
    messages = [
        Message(rtnl.RTM_DELADDR, 0, body)
        for _, body in socket.dump(rtnl.RTM_GETADDR, bytes(8))
        if int.from_bytes(body[4:8], "little") == number
    ]
    messages.append(Message(rtnl.RTM_SETLINK, 0, encode.ifinfo(number, 0, rtnl.IFF_UP)))
    for _, code, words in socket.send(messages):
        raise refused(r, code, words)


def _index(socket: Netlink, name: str) -> int:
    """Zero where there is none."""
    question = Message(rtnl.RTM_GETLINK, 0, encode.ifinfo(0) + attr_str(rtnl.IFLA_IFNAME, name))
    (answer,) = socket.ask([question])
    return 0 if answer is None else int.from_bytes(answer[4:8], "little")
