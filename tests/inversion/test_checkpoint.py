from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from d2m_cli.errors import EncoderMismatchError, UsageError
from d2m_cli.inversion.checkpoint import EncoderConfig, Encoders
from d2m_cli.rhythm.sequence import RhythmGrid

CONFIG = EncoderConfig("embedded", "abc", 24, RhythmGrid("stable", 50.0, 256), hidden=32)


def test_encoders_survive_their_file(tmp_path: Path) -> None:
    made = Encoders(CONFIG)
    made.save(tmp_path / "encoders.safetensors")
    loaded = Encoders.load(tmp_path / "encoders.safetensors")
    assert loaded.config == CONFIG
    assert loaded.grid.seconds == pytest.approx(5.12)
    sequence = (torch.rand(3, 256) > 0.9).float()
    # Half precision on disk.
    assert torch.allclose(made.rhythm(sequence), loaded.rhythm(sequence), atol=2e-3)
    words = loaded.pseudo_words(sequence, "LO")
    assert words["*"].shape == words["@"].shape == (3, 24)
    assert set(loaded.pseudo_words(sequence, None)) == {"*"}


def test_encoders_for_another_backbone_say_which(tmp_path: Path) -> None:
    encoders = Encoders(CONFIG)
    wide = SimpleNamespace(name="riffusion:x", text_width=768, fingerprint="abc", window_seconds=5.12)
    other = SimpleNamespace(name="riffusion:x", text_width=24, fingerprint="def", window_seconds=5.12)
    same = SimpleNamespace(name="embedded", text_width=24, fingerprint="abc", window_seconds=5.12)
    encoders.check(same)  # type: ignore[arg-type]
    longer = SimpleNamespace(name="embedded", text_width=24, fingerprint="abc", window_seconds=10.24)
    with pytest.raises(EncoderMismatchError, match=r"windows of 5\.12 s"):
        encoders.check(longer)  # type: ignore[arg-type]
    with pytest.raises(EncoderMismatchError, match=r"made for embedded.*768.*d2m train"):
        encoders.check(wide)  # type: ignore[arg-type]
    with pytest.raises(EncoderMismatchError, match=r"weights are not those of riffusion:x"):
        encoders.check(other)  # type: ignore[arg-type]


def test_files_that_are_no_encoders_are_named(tmp_path: Path) -> None:
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"not a checkpoint")
    with pytest.raises(UsageError, match=r"junk\.safetensors"):
        Encoders.load(junk)
    with pytest.raises(UsageError, match=r"absent"):
        Encoders.load(tmp_path / "absent")
    save_file({"x": torch.zeros(1)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(UsageError, match="not encoders of d2m"):
        Encoders.load(tmp_path / "other.safetensors")
