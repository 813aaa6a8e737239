"""What the site needs besides Markdown: the page of options, links out of docs/, and a check that nothing is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.exceptions import PluginError

ROOT = Path(__file__).resolve().parents[1]
OPTIONS_MARK = "<!-- all options -->"
_OUTWARDS = re.compile(r"\[([^\]]+)\]\((\.\./[^)#\s]+)(?:#[^)\s]*)?\)")
_FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")
_LOADED = re.compile(
    r"""<(?:script|img|iframe|audio|video|source|embed)\b[^>]*\bsrc\s*=\s*["']?(?:https?:)?//[^\s"'>]+"""
    r"""|<link\b[^>]*\bhref\s*=\s*["']?(?:https?:)?//[^\s"'>]+|url\(\s*["']?(?:https?:)?//[^\s"')]+"""
)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put the options of the command line in their place, and write links out of docs/ as paths."""
    if OPTIONS_MARK in markdown:
        markdown = markdown.replace(OPTIONS_MARK, options_of_all_commands())

    def as_path(link: re.Match[str]) -> str:
        target = (ROOT / "docs" / link[2]).resolve()
        if not target.exists():
            raise PluginError(f"docs/{page.file.src_uri}: the link to {link[2]} leads to no file of the checkout")
        # On a code host the link works; the site holds docs/ alone.
        path = f"`{target.relative_to(ROOT).as_posix()}`"
        return path if link[1].strip("`") == path.strip("`") else f"{link[1]} ({path})"

    return _OUTWARDS.sub(as_path, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Keep the flags of inline code on one line: browsers would break them at their hyphens."""

    def kept(code: re.Match[str]) -> str:
        return _FLAG.sub(r'<span class="flag">\g<0></span>', code[0])

    return re.sub(r"<code>[^<]*</code>", kept, html)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Raise an error where a page would load something from the network."""
    loaded = _LOADED.search(output)
    if loaded:
        raise PluginError(f"docs/{page.file.src_uri}: the page would load {loaded[0]}")
    return output


def options_of_all_commands() -> str:
    """Markdown with a heading for each subcommand, and tables of what it takes, as ``--help`` tells it."""
    from d2m_cli.app import app

    commands = leaves(typer.main.get_command(app), "d2m")
    return "\n\n".join(part for name, command in commands for part in told(name, command))


def leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every subcommand with its full name, in the order of the help; groups that do something of their own, too."""
    inner = getattr(command, "commands", None)
    if inner is None or getattr(command, "invoke_without_command", False):
        yield name, command
    for word, each in (inner or {}).items():
        if not each.hidden:
            yield from leaves(each, f"{name} {word}")


def told(name: str, command: Any) -> Iterator[str]:
    with typer.Context(command, info_name=name) as context:
        yield f"## {name}"
        yield _plain(command.help or "")
        panels: dict[str, list[str]] = {}
        for parameter in command.params:
            record = parameter.get_help_record(context)
            if record is None or "--help" in parameter.opts:
                continue
            spelled, about = record
            panel = parameter.rich_help_panel or "Options"
            if parameter.param_type_name == "argument":
                # Its Python type says nothing that its name does not.
                spelled, panel = spelled.partition(" <")[0], "What it takes"
            panels.setdefault(panel, []).append(f"| `{_line(spelled)}` | {_plain(_line(about))} |")
        for panel, lines in panels.items():
            table = "\n".join([f"| {panel} | |", "|---|---|", *lines])
            yield f'<div class="options" markdown>\n\n{table}\n\n</div>'


def _line(text: str) -> str:
    return " ".join(text.split())


def _plain(text: str) -> str:
    """Help is plain text: signs of Markdown in it mean themselves."""
    return re.sub(r"([*_<>`|\[\]])", r"\\\1", text)
