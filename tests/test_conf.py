"""conf/aegisd.toml shows every key with its default, and says what it does."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs

from aegisd.config.keys import key_of
from aegisd.config.load import load
from aegisd.config.settings import Rule, Settings
from aegisd.config.to_toml import as_toml_values

FILE = Path(__file__).parents[1] / "conf" / "aegisd.toml"
OPTIONAL = {"alerts.rules.cooldown_ms"}  # absent means the default cooldown


def keys(value: Any, path: str = "") -> set[str]:
    """Every key below ``value``, by its path; lists' items have their list's path."""
    if isinstance(value, dict):
        found = {f"{path}.{key}".lstrip(".") for key in value}
        return found.union(*(keys(v, f"{path}.{k}".lstrip(".")) for k, v in value.items()))
    if isinstance(value, list):
        return set().union(*(keys(item, path) for item in value))
    return set()


def test_file_loads_to_the_defaults() -> None:
    assert load(FILE, {}) == Settings()


def test_file_has_every_key() -> None:
    assert keys(tomllib.loads(FILE.read_text())) == keys(as_toml_values(Settings()))
    rule_keys = {f"alerts.rules.{key_of(field)}" for field in attrs.fields(Rule)}
    assert rule_keys - OPTIONAL <= keys(tomllib.loads(FILE.read_text()))


def test_every_key_has_a_comment() -> None:
    lines = FILE.read_text().splitlines()
    bare = [
        line
        for before, line in pairwise(lines)
        if re.match(r"\w+ = ", line) and not before.startswith("# ")
    ]
    assert bare == []
