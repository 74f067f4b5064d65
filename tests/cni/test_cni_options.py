"""The table of plugins is complete and agrees with the models."""

from __future__ import annotations

from typing import get_args

import pytest

from emulator.cni.options import PLUGINS, AnyNetwork
from emulator.cni.options.plugin import NetworkOptions


def test_every_plugin_is_part_of_the_grammar() -> None:
    models = get_args(get_args(AnyNetwork)[0])
    assert {plugin.options for plugin in PLUGINS.values()} == set(models)


@pytest.mark.parametrize("name", PLUGINS)
def test_a_row_agrees_with_its_model(name: str) -> None:
    plugin = PLUGINS[name]
    fields = plugin.options.model_fields
    assert get_args(fields["plugin"].annotation) == (name,)
    if "backend" in fields:
        assert get_args(fields["backend"].annotation) == plugin.backends
        assert fields["backend"].default == plugin.backends[0]
    else:
        assert plugin.backends == ("",)
    assert set(plugin.one_segment) <= set(plugin.backends)
    for option, backends in plugin.options.only_for.items():
        assert option in fields
        assert set(backends) < set(plugin.backends)


@pytest.mark.parametrize("name", PLUGINS)
def test_values_are_all_options_by_name(name: str) -> None:
    model = PLUGINS[name].options
    needed = {k: "{}" for k, f in model.model_fields.items() if f.is_required() and k != "plugin"}
    options: NetworkOptions = model(plugin=name, **needed)
    names = [option for option, _ in options.values()]
    assert names == sorted(set(PLUGINS[name].options.model_fields) - {"plugin", "backend"})
