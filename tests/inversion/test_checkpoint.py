from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from d2m_cli.errors import EncoderMismatchError, UsageError
from d2m_cli.ground.weights_path import weights_dir
from d2m_cli.inversion.checkpoint import EncoderConfig, Encoders
from d2m_cli.rhythm.sequence import RhythmGrid

CONFIG = EncoderConfig("embedded", "abc", 24, RhythmGrid("stable", 50.0, 256), hidden=32)
SOME = (torch.rand(3, 256, generator=torch.Generator().manual_seed(0)) > 0.9).float()


def backbone(**values: Any) -> Any:
    usual = {
        "name": "embedded",
        "text_width": 24,
        "fingerprint": "abc",
        "window_seconds": 5.12,
        "condition_layers": 7,
    }
    return SimpleNamespace(**{**usual, **values})


def edited(source: Path, target: Path, header: dict[str, Any], **changed: torch.Tensor | None) -> Path:
    """A copy of an encoders' file with another header, and tensors replaced or (None) left out."""
    with safe_open(str(source), framework="pt") as opened:
        config = json.loads(opened.metadata()["d2m"])
    tensors = {**load_file(source), **{name.replace("__", "."): value for name, value in changed.items()}}
    kept = {name: value for name, value in tensors.items() if value is not None}
    save_file(kept, str(target), metadata={"d2m": json.dumps({**config, **header})})
    return target


@pytest.mark.parametrize("projector", ["mlp", "attn-pos", "sequence", "constant"])
@pytest.mark.parametrize(
    ("genre", "layers", "vectors"), [("label", 1, 1), ("clap", 7, 2), ("constant", 1, 4), (None, 7, 1)]
)
def test_encoders_survive_their_file(
    tmp_path: Path, projector: str, genre: str | None, layers: int, vectors: int
) -> None:
    config = replace(CONFIG, projector=projector, genre=genre, layers=layers, rhythm_vectors=vectors, genre_vectors=2)
    made = Encoders(config).eval()
    made.save(tmp_path / "encoders.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["encoders.safetensors"]
    loaded = Encoders.load(tmp_path / "encoders.safetensors")
    assert loaded.config == config
    assert loaded.grid.seconds == pytest.approx(5.12)
    assert len(loaded.sha256) == 64
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    heard: Any = {"label": ["LO", "BR", "WA"], "clap": torch.rand(3, 512), "constant": ["", "", ""], None: None}[genre]
    first, second = made.pseudo_words(SOME, heard), loaded.pseudo_words(SOME, heard)
    assert set(first) == set(second) == ({"*"} if genre is None else {"*", "@"})
    assert second["*"].shape == (3, layers, vectors, 24)
    if genre is not None:
        assert second["@"].shape == (3, layers, 2, 24)
    for word in first:
        # Half precision on disk.
        assert torch.allclose(first[word], second[word], atol=4e-3)


def test_one_code_stands_for_all_windows_and_none_leaves_genre_out() -> None:
    encoders = Encoders(CONFIG)
    words = encoders.pseudo_words(SOME, "LO")
    assert torch.equal(words["@"], encoders.genre(["LO", "LO", "LO"]))
    assert set(encoders.pseudo_words(SOME, None)) == {"*"}


def test_files_of_older_versions_load_unchanged() -> None:
    path = weights_dir() / "embedded" / "encoders.safetensors"
    encoders = Encoders.load(path)
    stored = load_file(path)
    state = encoders.state_dict()
    assert {name.replace("_network", "", 1) for name in state} == set(stored)
    assert all(torch.equal(value, stored[name.replace("_network", "", 1)].float()) for name, value in state.items())
    assert (encoders.config.layers, encoders.config.rhythm_vectors, encoders.config.clap) == (1, 1, "")


def test_an_old_file_without_genres_may_hold_their_tensors(tmp_path: Path) -> None:
    Encoders(CONFIG).save(tmp_path / "a.safetensors")
    old = edited(tmp_path / "a.safetensors", tmp_path / "b.safetensors", {"genre": None})
    assert Encoders.load(old).genre_network is None


def test_an_optimizer_moves_them() -> None:
    encoders = Encoders(replace(CONFIG, projector="attn-pos")).train()
    before = {name: value.clone() for name, value in encoders.state_dict().items()}
    optimizer = torch.optim.SGD(encoders.parameters(), 1.0)
    words = encoders.pseudo_words(SOME, ["LO", "BR", "WA"])
    (words["*"].square().sum() + words["@"].square().sum()).backward()
    optimizer.step()
    moved = {name for name, value in encoders.state_dict().items() if (value - before[name]).abs().max() > 1e-6}
    # The whole sequence is one token, so q and k have no say in the attention.
    still = {f"rhythm_network.{layer}.{part}.weight" for layer in ("first", "second") for part in ("to_q", "to_k")}
    assert set(before) - moved == still
    other = Encoders(encoders.config)
    other.load_state_dict(encoders.state_dict())
    assert torch.equal(other.eval().rhythm(SOME), encoders.eval().rhythm(SOME))


def test_encoders_for_another_backbone_say_which() -> None:
    encoders = Encoders(CONFIG)
    encoders.check(backbone())
    with pytest.raises(EncoderMismatchError, match=r"windows of 5\.12 s"):
        encoders.check(backbone(window_seconds=10.24))
    with pytest.raises(EncoderMismatchError, match=r"made for embedded.*768.*d2m train"):
        encoders.check(backbone(name="riffusion:x", text_width=768))
    with pytest.raises(EncoderMismatchError, match=r"weights are not those of riffusion:x"):
        encoders.check(backbone(name="riffusion:x", fingerprint="def"))
    assert encoders.note == ""


def test_layers_are_those_of_the_backbone() -> None:
    layered = Encoders(replace(CONFIG, layers=7))
    layered.check(backbone())
    with pytest.raises(EncoderMismatchError, match=r"made for 7 layers.* at 16 places"):
        layered.check(backbone(condition_layers=16))


def test_encoders_that_are_not_bound_to_weights_are_known_by_family_and_width() -> None:
    free = Encoders(EncoderConfig("musicgen", "", 24, RhythmGrid("published", 60.0, 303), projector="attn-pos"))
    assert free.grid.seconds == pytest.approx(5.05)
    free.check(backbone(name="musicgen:facebook/musicgen-small", fingerprint="any"))
    assert "not bound to one set of weights" in free.note
    with pytest.raises(EncoderMismatchError, match="made for musicgen, which riffusion:x is not"):
        free.check(backbone(name="riffusion:x"))
    with pytest.raises(EncoderMismatchError, match="text width 24"):
        free.check(backbone(name="musicgen:large", text_width=1024))


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"projector": "gru"}, "mlp, attn-pos, sequence, constant"),
        ({"genre": "mood"}, "label, clap, constant, or none"),
        ({"rhythm_vectors": 0}, "rhythm_vectors.*at least 1"),
        ({"genre_vectors": -1}, "genre_vectors.*at least 1"),
        ({"layers": 0}, "layers.*at least 1"),
        ({"layers": 2.0}, "layers.*whole number"),
        ({"width": 0}, "width"),
        ({"hidden": 1}, "hidden.*at least 4"),
        ({"grid": RhythmGrid(steps=0)}, "grid"),
        ({"projector": "sequence", "rhythm_vectors": 257}, "257 rhythm vectors.*256 steps"),
        ({"clap": "abc"}, "genre 'clap'"),
    ],
)
def test_configurations_are_checked(wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        replace(CONFIG, **wrong)


@pytest.mark.parametrize(
    ("genre", "given", "text"),
    [
        ("label", torch.zeros(3, 512), "give genre, not genre_audio"),
        ("clap", ["LO", "LO", "LO"], "give genre_audio, not genre"),
        ("clap", torch.zeros(3, 100), "sound example"),
        (None, ["LO", "LO", "LO"], "leave genre out"),
        ("label", ["XX", "LO", "LO"], "unknown genre code 'XX'"),
    ],
)
def test_a_genre_of_the_wrong_kind_is_an_error(genre: str | None, given: Any, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        Encoders(replace(CONFIG, genre=genre)).pseudo_words(SOME, given)


def test_a_rhythm_on_another_clock_is_an_error() -> None:
    for projector in ("mlp", "constant"):
        with pytest.raises(ValueError, match=r"\(batch, 256\), not \(1, 303\)"):
            Encoders(replace(CONFIG, projector=projector)).rhythm(torch.zeros(1, 303))


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


def test_files_that_are_not_whole_name_the_tensor(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.safetensors", tmp_path / "bad.safetensors"
    Encoders(CONFIG).save(good)
    name = "rhythm__layers__6__bias"
    with pytest.raises(UsageError, match=r"bad\.safetensors: rhythm\.layers\.6\.bias: missing"):
        Encoders.load(edited(good, bad, {}, **{name: None}))
    with pytest.raises(UsageError, match=r"rhythm\.layers\.6\.bias: of shape \(7,\), where \(24,\)"):
        Encoders.load(edited(good, bad, {}, **{name: torch.zeros(7)}))
    with pytest.raises(UsageError, match=r"rhythm\.layers\.6\.bias: .*not finite"):
        Encoders.load(edited(good, bad, {}, **{name: torch.full((24,), torch.nan)}))
    with pytest.raises(UsageError, match=r"rhythm\.layers\.9\.bias: not a part"):
        Encoders.load(edited(good, bad, {}, rhythm__layers__9__bias=torch.zeros(1)))
    with pytest.raises(UsageError, match=r"header does not say.*newer d2m"):
        Encoders.load(edited(good, bad, {"projector": "gru"}))
    with pytest.raises(UsageError, match=r"header does not say.*newer d2m"):
        Encoders.load(edited(good, bad, {"mood": 3}))


def test_encoders_that_ran_away_are_not_written(tmp_path: Path) -> None:
    encoders = Encoders(CONFIG)
    with torch.no_grad():
        encoders.get_parameter("rhythm_network.layers.6.bias")[3] = 1e6
    with pytest.raises(UsageError, match=r"rhythm_network\.layers\.6\.bias.*no finite numbers"):
        encoders.save(tmp_path / "encoders.safetensors")
    assert not list(tmp_path.iterdir())
