"""Where a lab runs: on this machine's kernel, or in a guest with a kernel that has everything.

``native`` needs no code.  ``vm`` is one emulated machine a user, with the host's own files and
Debian's kernel: :mod:`~emulator.bench.guest` starts and finds it, :mod:`~emulator.bench.session`
is the host's end of a command that runs there, and :mod:`~emulator.bench.agent` the guest's.
"""
