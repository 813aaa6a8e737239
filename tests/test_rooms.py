"""The order of the rooms: what a file may import, and who may speak of flags."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "d2m_cli"

ORDER = (
    "errors",
    "ground",
    "hub",
    "media",
    "pose",
    "rhythm",
    "inversion",
    "backbones",
    "generation",
    "training",
    "evaluation",
    "report",
    "api",
    "batch",
    "doctor",
    "commands",
    "app",
    "entry",
    "__main__",
)
"""Rooms, and files beside them, from the bottom up: each may import from itself and from those before it."""

FLAG = re.compile(r"(?<![\w-])--[a-z]")
COMMANDS = ("'d2m ", "pip install ")
"""What a text quotes where it holds a whole command line, flags and all."""


@cache
def modules() -> dict[str, Path]:
    """Dotted name of each module of the package to its file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(tree: ast.AST, known: Iterable[str], *, for_types: bool) -> Iterator[str]:
    """Modules of the package that a file imports, anywhere in it; those under TYPE_CHECKING only with `for_types`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            if for_types:
                for child in node.body:
                    yield from imports(ast.Module([child], []), known, for_types=True)
            for child in node.orelse:
                yield from imports(ast.Module([child], []), known, for_types=for_types)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name their module whole"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                name = whole if whole in known else node.module or ""
                if name in known:
                    yield name
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        else:
            yield from imports(node, known, for_types=for_types)


def arrows(*, for_types: bool) -> dict[str, set[str]]:
    """Module to the modules that it imports."""
    known = modules()
    return {
        name: set(imports(ast.parse(path.read_text(encoding="utf-8")), known, for_types=for_types)) - {name}
        for name, path in known.items()
    }


def room(module: str) -> str:
    return module.split(".")[1]


def circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Groups of nodes that reach each other: strongly connected components of more than one node (Kosaraju)."""
    backwards: dict[str, set[str]] = defaultdict(set)
    for node, others in graph.items():
        for other in others:
            backwards[other].add(node)

    def walk(start: str, ways: Mapping[str, Iterable[str]], seen: set[str]) -> Iterator[str]:
        seen.add(start)
        for other in ways.get(start, ()):
            if other not in seen:
                yield from walk(other, ways, seen)
        yield start

    seen: set[str] = set()
    order = [node for start in graph if start not in seen for node in walk(start, graph, seen)]
    seen = set()
    groups = [list(walk(start, backwards, seen)) for start in reversed(order) if start not in seen]
    return [sorted(group) for group in groups if len(group) > 1]


def test_every_room_has_its_place() -> None:
    there = {room(name) for name in modules() if "." in name}
    assert there == set(ORDER)


def test_no_arrow_runs_up() -> None:
    place = {name: number for number, name in enumerate(ORDER)}
    # The package itself is a list of public names: what it names for type checkers is imported when first used.
    up = [
        f"{name} -> {other}"
        for name, others in arrows(for_types=True).items()
        if name != PACKAGE.name
        for other in others
        if other != PACKAGE.name and place[room(other)] > place[room(name)]
    ]
    assert sorted(up) == []


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles(arrows(for_types=False)) == []


def test_circles_are_found() -> None:
    graph = {"a": ["b"], "b": ["c"], "c": ["a", "d"], "d": ["e"], "e": [], "f": ["g"], "g": ["f"]}
    assert sorted(circles(graph)) == [["a", "b", "c"], ["f", "g"]]


def test_imports_are_read_wherever_they_stand() -> None:
    known = {"p", "p.a", "p.b", "p.c"}
    text = (
        "from typing import TYPE_CHECKING\nimport p.a\nif TYPE_CHECKING:\n    from p.c import thing\n"
        "def f():\n    from p import b\n    from p import version\n"
    )
    assert list(imports(ast.parse(text), known, for_types=False)) == ["p.a", "p.b", "p"]
    assert list(imports(ast.parse(text), known, for_types=True)) == ["p.a", "p.c", "p.b", "p"]


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of string literals, f-strings whole, with "{}" for their values; docstrings are left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            yield node.lineno, "".join(map(str, parts))
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    yield from texts(part)
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                yield node.lineno, node.value
        else:
            yield from texts(node)


def speaks_of_flags(text: str) -> bool:
    return FLAG.search(text) is not None and not any(command in text for command in COMMANDS)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('raise E("use --device cpu")', True),
        ('raise E(f"{path}: " "add --overwrite")', True),
        ("raise E(f\"{option('overwrite')} and {f('--top-k')}\")", True),
        ("raise E(\"make it with 'd2m rhythm --mode published'\")", False),
        ('raise E("pip install --no-deps mmpose")', False),
        ('x = "a -- b, well--known, ---"', False),
        ('"""A docstring with --flags."""', False),
    ],
)
def test_flags_are_found(line: str, found: bool) -> None:
    assert any(speaks_of_flags(text) for _, text in texts(ast.parse(line))) is found


def test_only_commands_speak_of_flags() -> None:
    # `option` is what writes them once the command line asks for flags.
    speaking = ("commands", "app", "entry", "__main__", "ground.options")
    found = [
        f"{name}:{line}: {text}"
        for name, path in modules().items()
        if not f"{name}.".startswith(tuple(f"{PACKAGE.name}.{one}." for one in speaking))
        for line, text in texts(ast.parse(path.read_text(encoding="utf-8")))
        if speaks_of_flags(text)
    ]
    assert found == []
