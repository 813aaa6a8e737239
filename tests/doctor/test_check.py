from __future__ import annotations

import json

import pytest

from d2m_cli.doctor.check import Check, anonymous, explained, guarded
from d2m_cli.errors import UsageError


def test_what_is_wrong_has_a_remedy() -> None:
    with pytest.raises(ValueError, match="what mends it"):
        Check("a", "b", "warn", "c")
    assert Check("a", "b", "ok", "c").remedy == ""


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/home/eve/out: full", "~/out: full"),
        ("/home/eve", "~"),
        ("in '/home/eve/x' and /home/eve/y", "in '~/x' and ~/y"),
        ("/home/evelyn/out", "/home/evelyn/out"),
        ("/scratch/eve/out", "/scratch/$USER/out"),
        ("/scratch/eve-old/out", "/scratch/eve-old/out"),
        ("eve is no path", "eve is no path"),
        ("/mnt/home/eve/x", "/mnt/home/$USER/x"),
    ],
)
def test_home_and_user_are_left_out(monkeypatch: pytest.MonkeyPatch, text: str, wanted: str) -> None:
    monkeypatch.setenv("HOME", "/home/eve")
    monkeypatch.setenv("USER", "eve")
    assert anonymous(text) == wanted


def test_they_are_left_out_of_all_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/eve")
    values = {"path": "/home/eve/a", "size": 3, "list": ["/home/eve/b", None], "more": {"x": "/home/eve/c"}}
    check = Check("folders", "n /home/eve", "bad", "t /home/eve/t", "r /home/eve", values).without_names()
    assert "eve" not in json.dumps(check.to_json())
    assert check.values == {"path": "~/a", "size": 3, "list": ["~/b", None], "more": {"x": "~/c"}}


def test_a_root_folder_is_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/")
    assert anonymous("/usr/lib") == "/usr/lib"


def test_a_check_that_raises_is_a_finding() -> None:
    def look():
        yield Check("g", "first", "ok", "fine")
        raise ZeroDivisionError("what\nnow")

    first, second = guarded("g", "n", look, "mend it")
    assert first.text == "fine"
    assert (second.group, second.name, second.state, second.remedy) == ("g", "n", "bad", "mend it")
    assert second.text.startswith("ZeroDivisionError: what now (doctor/test_check.py, line ")
    assert second.values["error"] == "ZeroDivisionError"
    assert "Traceback" in second.values["traceback"]


def test_an_interrupt_is_none() -> None:
    def look():
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        list(guarded("g", "n", look, "mend it"))


def test_errors_of_d2m_say_themselves_what_to_do() -> None:
    assert explained(UsageError("no such file; give another")) == "no such file; give another"
    assert explained(ValueError()) == "ValueError"
