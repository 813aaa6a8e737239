"""Docstrings of this project in the form that mkdocstrings reads.

"Returns" are sentences here, whose types stand in the code; several names may share one description; and "::" comes
before an example.
"""

from __future__ import annotations

import re
from dataclasses import fields
from inspect import getdoc
from typing import Any

from griffe import Attribute, Class, Docstring, Extension, Function, Module

_RETURNS = re.compile(r"(?P<head>^(?:Returns|Yields)\n-+\n)(?P<text>(?:.+\n?)+(?:\n+ +.+)*)", re.M)
_SHARED = re.compile(r"^(?P<names>\w+(?:, \w+)+)\n(?P<about>(?: +.+\n?|\n(?= ))+)", re.M)
_EXAMPLE = re.compile(r"^::$\n", re.M)


class AsRead(Extension):
    """Rewrites what is documented before it is parsed."""

    def on_function(self, *, func: Function, **_: Any) -> None:
        """Functions and methods."""
        _rewrite(func, str(func.returns or "None"))

    def on_attribute(self, *, attr: Attribute, **_: Any) -> None:
        """Properties, which griffe takes for attributes."""
        _rewrite(attr, str(attr.annotation or "None"))

    def on_class(self, *, cls: Class, **_: Any) -> None:
        """Classes, which return nothing."""
        if cls.path == "d2m_cli.training.options.TrainOptions":
            _as_made(cls)
        _rewrite(cls, "")

    def on_module(self, *, mod: Module, **_: Any) -> None:
        """Modules."""
        _rewrite(mod, "")


def _as_made(cls: Class) -> None:
    """Defaults and descriptions of training's options, which are put together when Python reads them."""
    from d2m_cli.training.options import TrainOptions

    cls.docstring = Docstring(getdoc(TrainOptions) or "", parent=cls)
    made = cls.members["__init__"]
    for field in fields(TrainOptions):
        made.parameters[field.name].default = repr(field.default)  # type: ignore[union-attr]


def _rewrite(documented: Function | Attribute | Class | Module, kind: str) -> None:
    if documented.docstring is None:
        return

    def typed(found: re.Match[str]) -> str:
        sentence = "\n".join(f"    {line}" for line in found["text"].strip("\n").splitlines())
        return f"{found['head']}{kind}\n{sentence}\n"

    def one_by_one(found: re.Match[str]) -> str:
        about = found["about"].rstrip("\n")
        return "".join(f"{name}\n{about}\n" for name in found["names"].split(", "))

    text = _EXAMPLE.sub("", documented.docstring.value)
    text = _SHARED.sub(one_by_one, text)
    documented.docstring.value = _RETURNS.sub(typed, text) if kind else text
