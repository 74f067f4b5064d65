"""What went wrong with one measurement, as an error that an instrument turns into a sample."""

from __future__ import annotations

from emulator.errors import PodwireError


class MeasureFailed(PodwireError):
    """A tool failed, hung, or wrote what cannot be read; the text is the reason of the sample."""
