"""No pod network: every pod lives in its node's, so nothing lies between pods and the underlay."""

from __future__ import annotations

from emulator.oracle import model


class Model(model.Model):
    """What ``hostNetwork`` pods see is the underlay's affair alone."""
