"""What the catalogue says of itself: names, layouts, checksums, and the command for every backbone."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from d2m_cli.commands.weights import pull_tools
from d2m_cli.errors import UsageError
from d2m_cli.hub.catalogue import CATALOGUE, HRNETS, Download, HubModel, find
from d2m_cli.hub.models import pick
from tests.latent_audio_models import save_ace_step, save_stable_audio_3, save_stable_audio_open


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("riffusion", "riffusion"),
        ("riffusion:riffusion/riffusion-model-v1", "riffusion"),
        ("musicgen", "musicgen-small"),
        ("musicgen:", "musicgen-small"),
        ("musicgen:large", "musicgen-large"),
        ("musicgen:facebook/musicgen-medium", "musicgen-medium"),
        ("musicgen:stereo-large", "musicgen-stereo-large"),
        ("audiocraft", "musicgen-small-audiocraft"),
        ("audiocraft:medium", "musicgen-medium-audiocraft"),
        ("audiocraft:facebook/musicgen-large", "musicgen-large-audiocraft"),
        ("ace-step", "ace-step"),
        ("ace-step:ACE-Step/acestep-v15-xl-base-diffusers", "ace-step-xl-base"),
        ("stable-audio", "stable-audio"),
        ("stable-audio:stabilityai/stable-audio-3-medium", "stable-audio-3"),
        ("stable-audio:someone/their-own", "stable-audio:someone/their-own"),
        ("vggish", "vggish"),
        ("hrnet-w48-384", "hrnet-w48-384"),
        ("musicgen:someone/their-model", "musicgen:someone/their-model"),
        ("audiocraft:stereo-small", "audiocraft:facebook/musicgen-stereo-small"),
    ],
)
def test_what_a_backbone_is_called(text: str, name: str) -> None:
    assert find(text).name == name
    assert find(text).fetch_command == f"d2m weights pull {name}"


@pytest.mark.parametrize(
    "text", ["", "embedded", "auto", "theremin", "riffusion:./no/folder", "musicgen:a b/c", "clap:x"]
)
def test_what_has_no_weights(text: str) -> None:
    with pytest.raises(UsageError, match="d2m weights list"):
        find(text)


def test_strangers_on_the_hub_have_the_layout_of_their_family() -> None:
    stranger = find("musicgen:someone/their-model")
    assert isinstance(stranger.source, HubModel)
    assert stranger.source.repo == "someone/their-model"
    assert ("model.safetensors", "pytorch_model.bin") in stranger.source.needs
    assert stranger.licence == "not known to d2m"
    assert stranger.slug == "musicgen--someone--their-model"
    stereo = find("audiocraft:facebook/musicgen-stereo-small")
    assert stereo.licence == "CC-BY-NC-4.0"
    assert stereo.with_weights == ("t5-base", "encodec-32khz")
    assert find("audiocraft:small").with_weights == ("t5-base",)


def test_a_folder_as_diffusers_saves_it_has_all_that_is_fetched(tmp_path: Path) -> None:
    for family, save in (
        ("ace-step", save_ace_step),
        ("stable-audio", save_stable_audio_open),
        ("stable-audio", save_stable_audio_3),
    ):
        folder = save(tmp_path / save.__name__)
        there = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        source = find(f"{family}:someone/their-own").source
        assert isinstance(source, HubModel)
        taken, lacking = pick([*there, "model.ckpt", "demo.wav", "transformer/diffusion_pytorch_model.bin"], source)
        assert lacking == []
        assert taken == sorted(there)
        # Large networks lie in pieces.
        name = "transformer/diffusion_pytorch_model"
        pieces = [f"{name}-0000{number}-of-00002.safetensors" for number in (1, 2)]
        split = [*(one for one in there if not one.startswith(f"{name}.")), *pieces, f"{name}.safetensors.index.json"]
        assert pick(split, source) == (sorted(split), [])


def test_terms_of_stable_audio_are_told() -> None:
    for name in ("stable-audio", "stable-audio-3", "stable-audio-3-small", "stable-audio-3-base"):
        assert CATALOGUE[name].licence == "Stability AI Community License"
        assert "1 million US dollars" in CATALOGUE[name].terms
        assert ("Gemma" in CATALOGUE[name].terms) == (name != "stable-audio")
    assert (CATALOGUE["ace-step"].licence, CATALOGUE["ace-step"].terms) == ("MIT", "")


def test_every_entry_says_where_from_and_under_which_licence() -> None:
    assert len({entry.slug for entry in CATALOGUE.values()}) == len(CATALOGUE)
    for name, entry in CATALOGUE.items():
        assert (entry.name, entry.slug) == (name, name)
        assert all((entry.purpose, entry.origin, entry.licence)), name
        assert all(other in CATALOGUE for other in entry.with_weights)
        if entry.origin.startswith("facebook/"):
            assert (entry.licence, entry.terms) == ("CC-BY-NC-4.0", "no commercial use of the weights.")
    assert CATALOGUE["sincresnet"].licence == "none stated"
    assert CATALOGUE["riffusion"].licence == "CreativeML OpenRAIL-M"


def test_checksums_are_those_in_the_published_names() -> None:
    """mmpose and torch.hub put the first eight digits of the sha256 into the file's name."""
    for entry in CATALOGUE.values():
        if not isinstance(entry.source, Download):
            continue
        assert entry.source.url.startswith("https://")
        # In an archive's name they are those of the checkpoint that it was made from.
        told = None if entry.member else re.search(r"-([0-9a-f]{8})[._]", entry.source.file_name)
        if told is None:
            assert entry.source.sha256 is None
            assert entry.name in pull_tools().opens
        else:
            assert (entry.source.sha256 or "").startswith(told[1])
            assert re.fullmatch(r"[0-9a-f]{8}|[0-9a-f]{64}", entry.source.sha256 or "")


@pytest.mark.skipif(importlib.util.find_spec("mmpose") is None, reason="mmpose is not installed")
def test_mmpose_has_the_configurations() -> None:
    import mmpose

    folder = Path(mmpose.__file__).parent / ".mim/configs/body_2d_keypoint/topdown_heatmap/coco"
    assert len(HRNETS) == 4
    for name in HRNETS:
        assert (folder / f"{CATALOGUE[name].mmpose_config}.py").is_file()
