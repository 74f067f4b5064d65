"""Bench ``virtual``: a lab in one emulated CPU whose clock counts instructions.

Packages of a lock become an image (``package``, ``tree``, ``archive``), which boots once and is
kept as it is then; every cell of a run begins in that moment.
"""
