"""What the documentation says of commands, options, names, files and errors is so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from d2m_cli.app import app
from d2m_cli.backbones.registry import families
from d2m_cli.generation.video_genre import read_genre_table
from d2m_cli.ground.genres import genre_code
from d2m_cli.ground.options import option, tell_flags
from tests.documents import ROOT, Block, blocks, commands, outside_blocks, pages

SHELL = ("", "sh", "bash", "console")
SHELL_BLOCKS = [block for page in pages() for block in blocks(page, *SHELL)]
PYTHON_BLOCKS = [block for page in pages() for block in blocks(page, "python")]
CODE = re.compile(r"`([^`\n]+)`")


@cache
def d2m() -> Any:
    return typer.main.get_command(app)


def parse(command: Any, name: str, words: list[str], parent: Any = None) -> dict[str, Any]:
    """What a call of the command line would be given, of the innermost subcommand; nothing is run."""
    # Such options, as --version or --install-completion, give the command nothing: they act while they are parsed.
    acting = [parameter for parameter in command.params if parameter.is_eager or not parameter.expose_value]
    if {"--help", "-h"}.union(*(parameter.opts for parameter in acting)) & set(words):
        return {}
    with command.make_context(name, list(words), parent=parent) as context:
        if not hasattr(command, "commands"):
            return dict(context.params)
        rest = [*context._protected_args, *context.args]
        if not rest:
            return {}
        inner, found, further = command.resolve_command(context, rest)
        return parse(found, inner, further, context)


def check_call(words: list[str]) -> None:
    given = parse(d2m(), "d2m", words)
    if (backbone := given.get("backbone")) is not None:
        assert backbone.partition(":")[0] in {"auto", *families(), "drums"}, backbone
    if (genre := given.get("genre")) not in (None, "auto"):
        genre_code(genre)


def test_what_ends_a_call_while_it_is_parsed_is_not_parsed(capsys: pytest.CaptureFixture[str]) -> None:
    check_call(["--version"])
    check_call(["generate", "--list-words"])
    assert capsys.readouterr().out == ""


def test_calls_are_found_in_shell() -> None:
    text = "VARIABLE=1 d2m a --b 'c d' && d2m e | tee f  # d2m g\nd2m h \\\n    i > j\npip install d2m\n"
    assert list(commands(text, "d2m")) == [["a", "--b", "c d"], ["e"], ["h", "i"], []]


@pytest.mark.parametrize(
    "words",
    [["status"], ["generate", "a.mp4", "--no-such"], ["generate", "a.mp4", "--snap", "maybe"], ["nothing", "a.mp4"]],
)
def test_wrong_calls_are_told_from_right_ones(words: list[str]) -> None:
    with pytest.raises(Exception, match=r"(?i)missing|no such|not one of|invalid"):
        check_call(words)


@pytest.mark.parametrize("block", SHELL_BLOCKS, ids=lambda block: block.name)
def test_every_d2m_line_is_a_call_that_d2m_takes(block: Block) -> None:
    for words in commands(block.text, "d2m"):
        if words:
            check_call(words)


def test_pages_show_every_subcommand() -> None:
    shown = {words[0] for block in SHELL_BLOCKS for words in commands(block.text, "d2m") if words}
    assert set(d2m().commands) <= shown


@cache
def known_options(command: Any) -> set[str]:
    """Of a command and of all that it has below it, but for those that its help hides."""
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    own = {name for parameter in shown for name in (*parameter.opts, *parameter.secondary_opts)}
    return own.union({"--help"}, *map(known_options, getattr(command, "commands", {}).values()))


FOREIGN = {"--no-deps", "--only", "--first-seed", "--price"}
"""Options of other programs that pages name alone."""


def wrong_options(code: str) -> list[str]:
    """Options that a piece of code in running text names, and d2m, or the subcommand before them, does not have."""
    words = code.split()
    if "…" in code or not (words[0] == "d2m" or words[0].startswith("--")):
        return []
    command: Any = d2m()
    for word in words[1:] if words[0] == "d2m" else ():
        inner = getattr(command, "commands", {})
        if not inner or word.startswith("-") or not word.islower():
            break
        if word not in inner:
            return [word]
        command = inner[word]
    named = re.findall(r"(?<!\S)--[a-z][\w-]*", code)
    return [name for name in named if name not in known_options(command) | FOREIGN]


@pytest.mark.parametrize(
    ("code", "wrong"),
    [("--snap off", []), ("d2m pose --snap off", ["--snap"]), ("d2m weights pull", []), ("d2m paint", ["paint"])],
)
def test_wrong_options_are_told(code: str, wrong: list[str]) -> None:
    assert wrong_options(code) == wrong


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_options_named_in_the_text_exist(page: Path) -> None:
    assert not [(code, wrong) for code in CODE.findall(outside_blocks(page)) if (wrong := wrong_options(code))]


@pytest.mark.parametrize("block", PYTHON_BLOCKS, ids=lambda block: block.name)
def test_python_is_python_and_names_what_d2m_has(block: Block) -> None:
    import d2m_cli

    tree = ast.parse(block.text, block.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "d2m":
            assert node.attr in d2m_cli.__all__, f"d2m.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("d2m_cli"):
            for name in node.names:
                assert exists(f"{node.module}.{name.name}"), f"{node.module}.{name.name}"


def test_poses_of_another_program_go_in_as_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tenths = np.load(ROOT / "examples" / "videos" / "lock_112.keypoints.npz")["tenths"][0]
    joints = np.concatenate([tenths / 10.0, np.ones((*tenths.shape[:2], 1))], axis=2)
    np.save(tmp_path / "mine.npy", joints)
    monkeypatch.chdir(tmp_path)
    block = blocks(ROOT / "docs" / "dancers.md", "python")[0]
    names: dict[str, Any] = {}
    exec(compile(block.text, block.name, "exec"), names)
    assert names["rhythm"].beats.bpm == pytest.approx(112, rel=0.02)
    assert names["rhythm"].beats.confidence > 0.5


@cache
def definitions(path: Path) -> dict[str, ast.AST]:
    return dict(defined(ast.parse(path.read_text(encoding="utf-8"))))


def defined(tree: Any) -> Iterator[tuple[str, ast.AST]]:
    """Names that a module or class gives to something, also by importing it."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((target.id, node) for target in targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((name.asname or name.name, node) for name in node.names)
        elif isinstance(node, ast.If):
            yield from defined(node)


def exists(dotted: str) -> bool:
    """Whether a dotted name is a module of the package, or a thing in one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:length])
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if not file.is_file():
            continue
        inside: Any = definitions(file)
        for name in parts[length:]:
            node = inside.get(name)
            if node is None:
                return False
            inside = dict(defined(node)) if isinstance(node, ast.ClassDef) else {}
        return True
    return False


def test_names_are_looked_up() -> None:
    assert exists("d2m_cli.rhythm.direction.paper_acceleration")
    assert exists("d2m_cli.rhythm.sequence.Rhythm.window")
    assert exists("d2m_cli.inversion.placement")
    assert not exists("d2m_cli.rhythm.direction.no_such")
    assert not exists("d2m_cli.rhythm.sequence.Rhythm.no_such")
    assert not exists("d2m_cli.no_room.thing")


@cache
def code_files() -> tuple[str, ...]:
    rooms = ("benchmarks", "d2m_cli", "examples", "tests", "weights")
    return tuple(path.as_posix() for room in rooms for path in (ROOT / room).rglob("*.*"))


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_names_and_files_of_the_code_exist(page: Path) -> None:
    codes = CODE.findall(outside_blocks(page))
    dotted = {name for code in codes for name in re.findall(r"d2m_cli(?:\.\w+)+", code) if not name.endswith(".py")}
    dotted |= set(re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.M))
    missing = sorted(name for name in dotted if not exists(name))
    assert not missing, f"{page.name} names {missing}"
    files = {found for code in codes for found in re.findall(r"(?<![\w/.])[\w/]+\.(?:py|sh)\b", code)}
    absent = sorted(file for file in files if not any(path.endswith(f"/{file}") for path in code_files()))
    assert not absent, f"{page.name} names {absent}"


def test_the_method_names_a_place_for_every_equation() -> None:
    text = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    assert set(re.findall(r"Eq\. (\d)", text)) == set("1234567")


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    """Anchors within the site are checked where it is built."""
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)", outside_blocks(page))
    local = [link for link in links if "://" not in link]
    assert not [link for link in local if not (page.parent / link).resolve().exists()]


@cache
def messages() -> tuple[str, ...]:
    """Texts of the package with "…" for what is put in, and options as flags."""
    found = set()
    for path in sorted((ROOT / "d2m_cli").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.add("".join(map(_piece, node.values)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return tuple(found)


def _piece(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    call = node.value if isinstance(node, ast.FormattedValue) else None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "option":
        if all(isinstance(argument, ast.Constant) for argument in call.args):
            return option(*(argument.value for argument in call.args))  # type: ignore[attr-defined]
        if isinstance(call.args[0], ast.Constant):
            return f"{option(str(call.args[0].value))} …"
    return "…"


def quoted_messages(page: Path) -> list[str]:
    """What stands first in the lines of tables whose first head is "message"."""
    found, listed = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("| message |"):
            listed = True
        elif not line.startswith("|"):
            listed = False
        elif listed and not line.startswith("|---"):
            found.append(CODE.findall(line)[0])
    return found


def test_every_quoted_message_is_one_of_the_code() -> None:
    tell_flags()
    try:
        known = messages()
    finally:
        tell_flags(False)
    quoted = [(page.name, text) for page in pages() for text in quoted_messages(page)]
    assert len(quoted) > 50
    unknown = [f"{page}: {text}" for page, text in quoted if not any(text in message for message in known)]
    assert not unknown, "\n".join(unknown)


def test_the_table_of_genres_on_a_page_can_be_read(tmp_path: Path) -> None:
    shown = [block for block in blocks(ROOT / "docs" / "collections.md", "") if block.text.startswith("name,genre\n")]
    table = tmp_path / "genres.csv"
    table.write_text(shown[0].text, encoding="utf-8")
    assert read_genre_table(table) == {"shows/opening.mp4": "HO", "rehearsal_7.mp4": "LO"}
