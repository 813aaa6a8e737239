from __future__ import annotations

import tomllib
from pathlib import Path

import av
import pytest

from d2m_cli.errors import UsageError
from d2m_cli.ground import example_clip as module
from d2m_cli.ground.example_clip import CLIP, example_clip

ROOT = Path(__file__).resolve().parents[2]


def test_it_is_the_shortest_of_the_examples() -> None:
    def seconds(path: Path) -> float:
        with av.open(str(path)) as container:
            return container.duration / av.time_base

    lengths = {path.name: seconds(path) for path in (ROOT / "examples" / "videos").glob("*.mp4")}
    assert lengths[CLIP] == min(lengths.values()) == 10.0
    assert example_clip().name == CLIP


def test_the_wheel_carries_it_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    source = next(name for name in wheel["include"] if name.endswith(".mp4"))
    folder, _, name = source.rpartition("/")
    assert (ROOT / source).is_file()
    carried = tmp_path / wheel["sources"][folder] / name
    carried.parent.mkdir(parents=True)
    carried.write_bytes((ROOT / source).read_bytes())
    monkeypatch.setattr(module, "__file__", str(tmp_path / "d2m_cli" / "ground" / "example_clip.py"))
    assert example_clip() == carried
    assert (ROOT / "constraints.txt").is_file()
    assert wheel["extra-metadata"] == {"constraints.txt": "constraints.txt"}


def test_a_checkout_has_it_beside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "__file__", str(tmp_path / "d2m_cli" / "ground" / "example_clip.py"))
    beside = tmp_path / "examples" / "videos" / CLIP
    beside.parent.mkdir(parents=True)
    beside.write_bytes(b"")
    assert example_clip() == beside
    beside.unlink()
    with pytest.raises(UsageError, match="install d2m again"):
        example_clip()
