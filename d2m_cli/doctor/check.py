"""What a check says, and how one that breaks is told."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from d2m_cli.errors import D2MError

State = Literal["ok", "warn", "bad"]


@dataclass(frozen=True)
class Check:
    """What was found in one place.

    Attributes
    ----------
    group
        What it belongs to: "machine", "packages", ...
    name
        What was looked at.
    state
        "ok"; "warn" where ``d2m generate`` works all the same, or works without something; "bad" where it does not.
    text
        What was found.
    remedy
        What mends it: a command where there is one; "" where nothing need be mended.
    values
        The same for machines: values that JSON can hold.
    """

    group: str
    name: str
    state: State
    text: str
    remedy: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.state != "ok" and not self.remedy:
            raise ValueError(f"{self.group}: {self.name}: what mends it?")

    def without_names(self) -> Check:
        """The same, with home folder and user name left out of all texts (`anonymous`)."""
        return replace(
            self,
            name=anonymous(self.name),
            text=anonymous(self.text),
            remedy=anonymous(self.remedy),
            values=_anonymous_values(self.values),
        )

    def to_json(self) -> dict[str, Any]:
        """Values that JSON can hold."""
        return {**asdict(self), "values": dict(self.values)}


def anonymous(text: str) -> str:
    """A text whose paths a stranger may read, and that a shell of the user's still understands.

    The home folder is written "~", and the user's name, where it is a part of a path, "$USER".
    """
    home, user = os.path.expanduser("~"), os.environ.get("USER", "")
    if os.path.isabs(home) and len(home) > 1:
        text = re.sub(rf"(?<![\w.-]){re.escape(home)}(?![\w.-])", "~", text)
    if user:
        text = re.sub(rf"(?<=/){re.escape(user)}(?![\w.-])", "$USER", text)
    return text


def _anonymous_values(value: Any) -> Any:
    if isinstance(value, str):
        return anonymous(value)
    if isinstance(value, Mapping):
        return {name: _anonymous_values(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_anonymous_values(one) for one in value]
    return value


def guarded(group: str, name: str, look: Callable[[], Iterable[Check]], remedy: str) -> Iterator[Check]:
    """The checks that `look` makes; one that raises is a check too, which says what was raised.

    Parameters
    ----------
    group, name
        Of the check that stands for one that raises.
    look
        Makes checks.
    remedy
        What may mend what is raised.
    """
    try:
        yield from look()
    # Whatever is broken on this machine, the other checks are to be made: what is raised is the finding.
    except Exception as error:
        told = {"error": type(error).__name__, "traceback": traceback.format_exc()}
        yield Check(group, name, "bad", explained(error), remedy, told)


def explained(error: BaseException) -> str:
    """An error in one line: d2m's own by its text, others also by kind and place."""
    text = " ".join(str(error).split())
    if isinstance(error, D2MError):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({'/'.join(Path(frames[-1].filename).parts[-2:])}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text[:300]}{place}" if text else f"{type(error).__name__}{place}"
