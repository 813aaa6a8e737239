"""What is done to pages where the site is built: options, links out of docs/, nothing from the network."""

from __future__ import annotations

import importlib.util
from types import ModuleType, SimpleNamespace

import pytest
import typer

from d2m_cli.app import app
from tests.documents import ROOT
from tests.test_docs import known_options

PAGE = SimpleNamespace(file=SimpleNamespace(src_uri="page.md"))


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_option_of_every_command_is_on_the_page(hooks: ModuleType) -> None:
    written = hooks.options_of_all_commands()
    command = typer.main.get_command(app)
    own = {name for parameter in command.params for name in parameter.opts}
    wanted = {name for name in known_options(command) - own - {"--help", "-h"} if name.startswith("--")}
    assert len(wanted) > 80
    assert not sorted(name for name in wanted if name not in written)
    for name in ("d2m generate", "d2m weights pull", "d2m cache", "d2m cache clear", "d2m listening-test score"):
        assert f"## {name}\n" in written


def test_help_is_plain_text(hooks: ModuleType) -> None:
    assert hooks._plain("learn '*' of <a|b>") == "learn '\\*' of \\<a\\|b\\>"


def test_links_out_of_the_docs_become_paths(hooks: ModuleType) -> None:
    text = (
        "[examples/README.md](../examples/README.md) and [the recipes](../weights/recipes/README.md#top), [here](a.md)"
    )
    assert hooks.on_page_markdown(text, page=PAGE) == (
        "`examples/README.md` and the recipes (`weights/recipes/README.md`), [here](a.md)"
    )
    with pytest.raises(Exception, match=r"page\.md: the link to \.\./no_such\.md leads to no file"):
        hooks.on_page_markdown("[gone](../no_such.md)", page=PAGE)


@pytest.mark.parametrize(
    "loads",
    [
        '<script src="https://example.org/a.js"></script>',
        '<link rel="stylesheet" href="//example.org/a.css">',
        "<style>@font-face { src: url(https://example.org/a.woff2) }</style>",
        '<img alt="" src=http://example.org/a.png>',
    ],
)
def test_a_page_that_would_load_from_elsewhere_is_refused(hooks: ModuleType, loads: str) -> None:
    with pytest.raises(Exception, match=r"page\.md: the page would load .*example\.org"):
        hooks.on_post_page(f"<html>{loads}</html>", page=PAGE)


def test_links_to_elsewhere_load_nothing(hooks: ModuleType) -> None:
    page = '<a href="https://example.org">there</a><script src="assets/a.js"></script>'
    assert hooks.on_post_page(page, page=PAGE) == page


def test_flags_of_inline_code_stay_whole(hooks: ModuleType) -> None:
    assert hooks.on_page_content("<code>a --top-k 3</code> --x <code>a-b</code>") == (
        '<code>a <span class="flag">--top-k</span> 3</code> --x <code>a-b</code>'
    )
