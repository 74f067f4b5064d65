from __future__ import annotations

import pytest

from emulator.errors import Unsupported
from emulator.substrate.versions import tool_versions


def test_versions_are_numbers_of_the_programs_themselves() -> None:
    found = tool_versions(["ip", "ping", "nft"])
    assert list(found) == ["ip", "ping", "nft"]
    assert all(version[0].isdigit() for version in found.values())
    assert found["ip"] != "2"  # of iproute2


def test_all_missing_programs_are_named_with_their_packages() -> None:
    with pytest.raises(Unsupported) as error:
        tool_versions(["ip", "no-such-one", "nor-this"])
    assert "apt-get install no-such-one" in str(error.value)
    assert "nor-this" in str(error.value)
