"""What the wiring makes of the configuration."""

import pytest

from aegisd.config.settings import EnabledMetrics
from aegisd.daemon.build import enabled_kinds
from aegisd.events.protocol import KINDS

SETTINGS = {
    "requests": "request",
    "rate_limits": "rate_limit",
    "backends": "backend",
    "system": "system",
}


def test_all_kinds_are_on_by_default() -> None:
    assert enabled_kinds(EnabledMetrics()) == KINDS.keys() == set(SETTINGS.values())


@pytest.mark.parametrize(("setting", "kind"), SETTINGS.items())
def test_setting_that_is_off_disables_its_kind_alone(setting: str, kind: str) -> None:
    assert enabled_kinds(EnabledMetrics(**{setting: False})) == KINDS.keys() - {kind}
