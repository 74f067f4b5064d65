"""The base of all documents, and the tags of values that have several forms."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

LIST, MAPPING, SCALAR = "<list>", "<mapping>", "<scalar>"


class Grammar(BaseModel):
    """No field but the known ones, no value turned into another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
