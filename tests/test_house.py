"""The house's measures: how large its parts may be, and that nothing stands twice."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

HOUSE = Path(__file__).parents[1] / "aegisd"
MAX_MODULE_LINES = 350
MAX_FUNCTION_LINES = 60
MAX_MODULES = 10  # of a package, beside its __init__
EQUAL_LINES = 10


def modules() -> Iterator[Path]:
    return HOUSE.rglob("*.py")


def test_no_module_is_too_long() -> None:
    lengths = {file: len(file.read_text().splitlines()) for file in modules()}
    assert {f: n for f, n in lengths.items() if n > MAX_MODULE_LINES} == {}


def test_no_function_is_too_long() -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = ((f, node) for f in modules() for node in ast.walk(ast.parse(f.read_text())))
    lengths = {
        f"{file}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for file, node in nodes
        if isinstance(node, functions)
    }
    assert {name: n for name, n in lengths.items() if n > MAX_FUNCTION_LINES} == {}


def test_no_package_has_too_many_modules() -> None:
    counts = Counter(file.parent for file in modules() if file.name != "__init__.py")
    assert {folder: n for folder, n in counts.items() if n > MAX_MODULES} == {}


def test_no_run_of_equal_lines_stands_twice() -> None:
    runs: dict[tuple[str, ...], list[str]] = {}
    for file in modules():
        lines = [line.strip() for line in file.read_text().splitlines() if line.strip()]
        for start in range(len(lines) - EQUAL_LINES + 1):
            runs.setdefault(tuple(lines[start : start + EQUAL_LINES]), []).append(str(file))
    assert [places for places in runs.values() if len(places) > 1] == []
