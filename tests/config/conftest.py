"""What the tests of the configuration share."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from aegisd.config.load import load
from aegisd.config.settings import Settings
from aegisd.errors import ConfigError


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Settings]:
    """Loads a text as the configuration, with an environment of the test's own."""

    def read_text(text: str, environment: Mapping[str, str] | None = None) -> Settings:
        file = tmp_path / "aegisd.toml"
        file.write_text(text)
        return load(file, environment or {})

    return read_text


@pytest.fixture
def problems(read: Callable[..., Settings]) -> Callable[..., list[str]]:
    """The lines that say what is wrong with a text."""

    def problems_of(text: str, environment: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            read(text, environment)
        assert str(caught.value) == "\n".join(caught.value.problems)
        assert all("\n" not in line for line in caught.value.problems)
        return caught.value.problems

    return problems_of
