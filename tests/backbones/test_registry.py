"""Backbones by name: what is found where, and under which licence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file

from d2m_cli.backbones import ace_step_folder, gpu_room
from d2m_cli.backbones.registry import (
    NO_COMMERCIAL_USE,
    Choice,
    choose,
    identity,
    known_sampling,
    open_backbone,
    pick_device,
)
from d2m_cli.backbones.sampling import Sampling
from d2m_cli.errors import MissingWeightsError, UsageError
from d2m_cli.hub import catalogue
from d2m_cli.rhythm.sequence import Tempo
from tests.latent_audio_models import save_ace_step, save_stable_audio_3


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No encoders and no hub models but those a test puts there."""
    monkeypatch.setenv("D2M_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def in_the_cache(home: Path, spec: str) -> Path:
    """What is left of a model that was fetched: a revision, and a snapshot with all that its family needs."""
    model = catalogue.find(spec).source
    folder = home / "hub" / f"models--{model.repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("a" * 40)
    snapshot = folder / "snapshots" / ("a" * 40)
    for one_of in model.needs:
        (snapshot / one_of[0]).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / one_of[0]).write_text("{}")
    return snapshot


@pytest.mark.parametrize(
    ("spec", "hub_id"),
    [
        ("musicgen", "facebook/musicgen-small"),
        ("musicgen:large", "facebook/musicgen-large"),
        ("musicgen:stereo-medium", "facebook/musicgen-stereo-medium"),
        ("musicgen:someone/her-own", "someone/her-own"),
        ("riffusion", "riffusion/riffusion-model-v1"),
        ("ace-step", "ACE-Step/acestep-v15-xl-turbo-diffusers"),
        ("ace-step:xl-base", "ACE-Step/acestep-v15-xl-base-diffusers"),
        ("stable-audio", "stabilityai/stable-audio-open-1.0"),
        ("stable-audio:3", "stabilityai/stable-audio-3-medium"),
        ("stable-audio:someone/their-own", "someone/their-own"),
    ],
)
def test_short_names_and_hub_ids(empty_home: Path, spec: str, hub_id: str) -> None:
    with pytest.raises(MissingWeightsError, match=r"Fetch it with 'd2m weights pull .*', or give a folder") as told:
        choose(spec)
    assert hub_id in str(told.value)
    snapshot = in_the_cache(empty_home, spec)
    choice = choose(spec)
    assert choice.folder == snapshot
    assert choice.name == f"{spec.partition(':')[0]}:{hub_id}"


def test_encoders_are_looked_for_from_the_nearest_place_on(empty_home: Path) -> None:
    snapshot = in_the_cache(empty_home, "musicgen:medium")
    places = [
        empty_home / "home" / "encoders" / "musicgen",
        empty_home / "home" / "encoders" / "musicgen" / "musicgen-medium",
        snapshot,
    ]
    assert choose("musicgen:medium").encoders is None
    for folder in places:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "encoders.safetensors").write_bytes(b"e")
        assert choose("musicgen:medium").encoders == folder / "encoders.safetensors"


def test_auto_takes_riffusion_with_encoders_and_never_weights_that_forbid_commerce(empty_home: Path) -> None:
    for name in ("musicgen-small", "riffusion"):
        (in_the_cache(empty_home, name) / "encoders.safetensors").write_bytes(b"e")
    assert choose("auto").family == "riffusion"
    (choose("riffusion").folder / "encoders.safetensors").unlink()
    assert choose("auto").family == "embedded"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """One GPU, of which nothing is free; called with the GiB of memory that it has."""
    monkeypatch.setattr(ace_step_folder, "visible_gpus", lambda: 1)
    monkeypatch.setattr(gpu_room, "free_bytes", lambda device: 0)

    def of(gib: float) -> None:
        monkeypatch.setattr(ace_step_folder, "gpu_memory", lambda number: int(gib * 2**30))

    return of


def test_auto_takes_ace_step_where_a_gpu_is_large_enough_and_says_why(
    empty_home: Path, gpu: Callable[[float], None]
) -> None:
    gpu(80)
    # Who has no ACE-Step gets what there is, and is told nothing.
    assert (choose("auto", "cuda").family, choose("auto", "cuda").why) == ("embedded", "")
    save_ace_step(in_the_cache(empty_home, "ace-step"))
    assert choose("auto", "cpu").family == "embedded"
    assert choose("auto", "cpu").why == "ACE-Step is for a GPU"
    for device in ("auto", "cuda", "cuda:0"):
        taken = choose("auto", device)
        assert (taken.family, taken.why) == ("ace-step", "it is here, and the GPU has room for it")
    with pytest.raises(UsageError, match="device='cuda:1': there is no such GPU; here is cuda:0"):
        choose("auto", "cuda:1")
    gpu(2)
    small = choose("auto", "cuda")
    assert small.family == "embedded"
    assert small.why == "ACE-Step needs 4.0 GiB of GPU memory in bf16, and the GPU has 2.0 GiB"
    # Training asks for no GPU by name, and gets what it got before.
    assert choose("auto").family == "embedded"


def test_auto_goes_by_the_options_that_a_model_would_refuse(
    empty_home: Path, gpu: Callable[[float], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_ace_step(in_the_cache(empty_home, "ace-step"))
    # 2.5e9 numbers a network: 18.6 GiB in 2 bytes, and 37.3 in 4, with 4 GiB beside.
    monkeypatch.setattr(gpu_room, "weights_count", lambda folder: 2_500_000_000)
    gpu(24)
    taken = [
        choose("auto", "cuda", *how).family
        for how in (("auto",), ("bf16",), ("fp16",), ("fp32",), ("fp32", True), ("auto", False, ["steps"]))
    ]
    assert taken == ["ace-step", "ace-step", "ace-step", "embedded", "ace-step", "ace-step"]
    assert (
        choose("auto", "cuda", "fp32").why == "ACE-Step needs 41.3 GiB of GPU memory in fp32, and the GPU has 24.0 GiB"
    )
    gpu(22)
    assert [choose("auto", "cuda", "auto", offloaded).family for offloaded in (False, True)] == ["embedded", "ace-step"]
    gpu(80)
    for name in ("negative_prompt", "guidance"):
        assert choose("auto", "cuda", given=["steps", name]).why == f"ACE-Step refuses {name}"
    for made_for, family in (("embedded", "embedded"), ("ace-step:x", "ace-step")):
        encoders = tmp_path / f"{family}.safetensors"
        save_file({}, encoders, {"d2m": json.dumps({"backbone": made_for})})
        assert choose("auto", "cuda", encoders=encoders).family == family


def test_auto_is_told_without_loading_pytorch(empty_home: Path) -> None:
    save_ace_step(in_the_cache(empty_home, "ace-step"))
    code = """
import sys
from d2m_cli.backbones import ace_step_folder
ace_step_folder.visible_gpus, ace_step_folder.gpu_memory = lambda: 1, lambda number: 80 * 2**30
from d2m_cli.backbones.registry import Sampling, choose, known_sampling
chosen = choose("auto", "cuda")
print(chosen.family, known_sampling(chosen, Sampling()).steps, {"torch", "diffusers"} & set(sys.modules))
"""
    env = {**os.environ, "HF_HUB_CACHE": str(empty_home / "hub")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "ace-step 8 set()\n"


def test_ace_step_that_auto_took_is_not_run_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    taken = Choice("ace-step", tmp_path, "ace-step:x", None, why="it is here, and the GPU has room for it")
    with pytest.raises(UsageError, match="PyTorch can't use it: check that the driver fits"):
        open_backbone(taken, "auto")


def test_each_model_is_drawn_from_as_its_authors_do(tmp_path: Path) -> None:
    saves = {
        ("ace-step", True): (8, 1.0), ("ace-step", False): (50, 7.0), ("stable-audio", True): (8, 1.0),
        ("stable-audio", False): (100, 7.0),
    }  # fmt: skip
    for (family, quick), (steps, guidance) in saves.items():
        folder = tmp_path / f"{family}-{quick}"
        if family == "ace-step":
            save_ace_step(folder, turbo=quick)
        else:
            save_stable_audio_3(folder, distilled=quick)
        choice = Choice(family, folder, f"{family}:{folder}", None)
        for found in (identity(choice).sampling, known_sampling(choice, Sampling())):
            assert (found.steps, found.guidance) == (steps, guidance)
        assert known_sampling(choice, Sampling(steps=3)).steps == 3
        assert not choice.needs_encoders
    assert Choice("musicgen", tmp_path, "musicgen:x", None).needs_encoders


def test_auto_without_any_model_downloads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: Any) -> None:
        raise AssertionError("something reached for the network")

    monkeypatch.setattr("socket.socket.connect", no_network)
    assert choose("auto").family == "embedded"


@pytest.mark.parametrize(
    ("readme", "licence"),
    [
        ("---\nlicense: cc-by-nc-4.0\ntags: [music]\n---\n# A model\n", NO_COMMERCIAL_USE),
        ("---\nlicense: apache-2.0\n---\n", "apache-2.0"),
        ("---\nlicense: [\n---\n", None),
        ("---\nlicense: other\nlicense_name: stable-audio-community\n---\n", "stable-audio-community"),
        ("no head at all", None),
        (None, None),
    ],
)
def test_a_folder_has_the_licence_that_its_readme_tells(
    tmp_path: Path, readme: str | None, licence: str | None
) -> None:
    if readme is not None:
        (tmp_path / "README.md").write_text(readme)
    told = identity(Choice("musicgen", tmp_path, f"musicgen:{tmp_path}", None))
    assert told.licence == (licence or f"not known, see {tmp_path}")


def test_published_models_have_their_own() -> None:
    nowhere = Path("nowhere")
    for name in ("musicgen:facebook/musicgen-small", "audiocraft:facebook/musicgen-large"):
        assert identity(Choice(name.partition(":")[0], nowhere, name, None)).licence == NO_COMMERCIAL_USE
    name = "riffusion:riffusion/riffusion-model-v1"
    assert identity(Choice("riffusion", nowhere, name, None)).licence == "CreativeML OpenRAIL-M"


def test_each_family_says_how_it_is_told_a_tempo(tmp_path: Path) -> None:
    tempo = Tempo(112.3, 0.2, 0.9)
    said = {"riffusion": "112 BPM", "musicgen": "bpm: 112", "audiocraft": "bpm: 112"}
    for family, words in said.items():
        assert identity(Choice(family, tmp_path, f"{family}:{tmp_path}", None)).tempo_words.say(tempo) == words
    (tmp_path / "d2m.json").write_text('{"licence": "MIT"}')
    assert identity(Choice("musicgen", tmp_path, "musicgen:x", None)).tempo_words.say(tempo) == "bpm: 112"


def test_devices_are_those_that_pytorch_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert (pick_device("auto"), pick_device("cpu")) == ("cpu", "cpu")
    with pytest.raises(UsageError, match=r"device='cuda:1': no NVIDIA GPU is visible here.* fits PyTorch's CUDA"):
        pick_device("cuda:1")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [pick_device(name) for name in ("auto", "cpu", "cuda", "cuda:1")] == ["cuda", "cpu", "cuda", "cuda:1"]
    with pytest.raises(UsageError, match="device='cuda:2': there is no such GPU; here are cuda:0, cuda:1"):
        pick_device("cuda:2")
