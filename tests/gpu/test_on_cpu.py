"""The same code as on a GPU, tiny and on the CPU; and that the full sizes are the published ones, unbuilt."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from d2m_cli.backbones.base import Draw
from tests import latent_audio_models
from tests.gpu import full_size, measure, measure_hrnet, measure_musicgen, measure_riffusion
from tests.gpu.bare import mel, without_librosa
from tests.gpu.full_size import W32, HRNetTorch, parameters
from tests.gpu.report import SMALL_EFFORT, Place, Report, distance, run_part, timed

HERE = Place("cpu")


def empty() -> Report:
    return Report({"device": "a CPU"})


# The published sizes.


@pytest.mark.parametrize(
    ("build", "count"),
    [
        (full_size.riffusion_unet, 859_520_964),
        (full_size.riffusion_vae, 83_653_863),
        (full_size.riffusion_text_encoder, 123_060_480),
        (full_size.musicgen_text_encoder, 109_628_544),
        (full_size.musicgen_decoder, 419_584_000),
        (full_size.musicgen_codec, 56_884_674),
    ],
)
def test_full_sizes_are_the_published_ones(build, count: int) -> None:
    with torch.device("meta"):
        assert parameters(build()) == count


@pytest.mark.parametrize(
    ("save", "count"),
    [
        # Qwen3-Embedding-0.6B's 595,776,512 and the defaults of diffusers' classes.
        (latent_audio_models.save_ace_step, 2_948_300_482),
        # T5-base's encoder; the denoising network has the published 1.06 billion.
        (latent_audio_models.save_stable_audio_open, 1_323_076_738),
        (latent_audio_models.save_stable_audio_3, 1_842_406_704),
    ],
)
def test_models_of_whole_pieces_have_the_sizes_of_diffusers_classes(
    monkeypatch: pytest.MonkeyPatch, save: Any, count: int
) -> None:
    monkeypatch.setattr(latent_audio_models, "_saved", lambda pipeline, *_: pipeline)
    networks = save(Path(), "full", device="meta").components.values()
    assert sum(parameters(one) for one in networks if isinstance(one, torch.nn.Module)) == count


def test_musicgen_small_takes_the_published_files_sizes() -> None:
    """model.safetensors has 2.36 GB; audiocraft's state_dict.bin 841 MB in fp16, its compression model 236 MB."""
    with torch.device("meta"):
        model = full_size.musicgen()
    codec = sum(value.numel() for value in model.audio_encoder.state_dict().values())
    assert round(codec * 4 / 1e6) == 236
    language = parameters(model.decoder) + parameters(model.enc_to_dec_proj)
    assert round(language * 2 / 1e6) == 841
    # The published file also stores the decoder's table of positions, which newer releases compute.
    positions = model.decoder.config.max_position_embeddings * model.decoder.config.hidden_size
    whole = parameters(model.text_encoder) + codec + language + positions
    assert round(whole * 4 / 1e9, 2) == 2.36
    assert round(whole / 1e6) == 591


def test_hrnet_has_the_published_size_and_operations() -> None:
    """mmpose's table: 28.5 million parameters and 7.7 GFLOPs (multiplications with an addition each)."""
    operations = 0

    def count(module: torch.nn.Conv2d, _given: object, out: torch.Tensor) -> None:
        nonlocal operations
        operations += out.numel() * module.weight[0].numel()

    with torch.device("meta"):
        network, picture = HRNetTorch(W32), torch.empty(1, 3, 256, 192)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        assert network(picture).shape == (1, 17, 64, 48)
    assert parameters(network) == 28_536_113
    assert operations == pytest.approx(7.65e9, rel=2e-3)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mmpose") is None, reason="mmpose is not installed")
def test_hrnet_is_mmposes() -> None:
    import mmpose

    from d2m_cli.pose import compat_mmpose

    folder = Path(mmpose.__file__).parent / ".mim/configs/body_2d_keypoint/topdown_heatmap/coco"
    theirs = compat_mmpose.build(folder / "td-hm_hrnet-w32_8xb64-210e_coco-256x192.py").eval()
    torch.nn.init.normal_(theirs.head.final_layer.weight, std=0.5)
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2.0)
    ours = HRNetTorch(W32).eval()
    assert parameters(ours) == parameters(theirs)
    state = theirs.state_dict()
    ours.load_state_dict({name.removeprefix("backbone.").removeprefix("head."): state[name] for name in state})
    picture = torch.randn(1, 3, 256, 192)
    with torch.inference_mode():
        expected = theirs(picture, None, mode="tensor")
        assert expected.abs().max() > 1
        assert torch.allclose(ours(picture), expected, atol=1e-5)


# The measurements run to the end.


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of 16 frames, a second of dance, and no second number format, which a CPU is slow in."""
    monkeypatch.setattr(measure_musicgen.MusicgenBackbone, "window_seconds", 0.32)  # type: ignore[attr-defined]
    monkeypatch.setattr(measure_hrnet, "DANCE", 1.0)
    monkeypatch.setattr(Place, "formats", ("fp32",))


@pytest.mark.slow
def test_everything_is_measured_and_written_down(
    tmp_path: Path, short: None, capsys: pytest.CaptureFixture[str]
) -> None:
    told = [str(tmp_path / "out"), "--device", "cpu", "--size", "tiny", "--no-compile", "--minutes", "60"]
    assert measure.main(told) == 0
    document = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert document["failures"] == []
    assert document["absent"] == []
    assert all(check["passed"] for check in document["checks"])
    assert len(document["checks"]) >= 15
    figures = {(one["part"], one["name"]): one["value"] for one in document["figures"]}
    assert {part for part, _ in figures} == set(measure.PARTS)
    for name in (
        "window, recorded, fp32, batch 4", "window, plain, fp32, batch 1", "codec's decoder, batch 2",
        "window, transformers' generate, fp32, batch 1", "pass alone, fp32", "first vectors from words",
    ):  # fmt: skip
        assert figures["musicgen", name] > 0
    for name in (
        "window, recorded, fp32, 2 steps, batch 2", "window, plain, fp32, 2 steps, batch 2",
        "guided step, recorded, batch 1", "10 windows, fp32, 2 steps",
        "gain at 10 windows, fp32, 2 steps, loop's sound on cpu",
    ):  # fmt: skip
        assert figures["riffusion", name] > 0
    assert figures["collection", "2 videos, once more"] > 0
    assert figures["musicgen", "distance of logits from fp32 on the CPU, fp32"] == 0
    table = (tmp_path / "out" / "figures.md").read_text()
    assert table == capsys.readouterr().out.removesuffix("\n")
    assert "| window, recorded, fp32, batch 2 |" in table


@pytest.mark.slow
def test_models_of_whole_pieces_are_measured_where_they_are_asked_for(tmp_path: Path) -> None:
    told = [str(tmp_path), "--device", "cpu", "--size", "tiny", "--only", ",".join(measure.OPTIONAL)]
    assert measure.main(told) == 0
    document = json.loads((tmp_path / "figures.json").read_text())
    assert document["failures"] == []
    assert {figure["part"] for figure in document["figures"]} == set(measure.OPTIONAL)
    assert len(document["checks"]) == 18
    assert all(check["passed"] for check in document["checks"])


@pytest.mark.slow
def test_compiled_windows_are_measured_too(tmp_path: Path, short: None) -> None:
    report = empty()
    folder = full_size.save_full_musicgen(tmp_path, "tiny")
    measure_musicgen.measure_compiled(report, folder, HERE, SMALL_EFFORT, 1)
    measure_musicgen.measure_compiled_tokens(report, folder, HERE, SMALL_EFFORT)
    assert report.value("musicgen", "window, compiled, fp32, batch 1") > 0
    assert len(report.checks) == 1
    assert not report.broken


def test_time_that_runs_out_is_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = [str(out), "--device", "cpu", "--size", "tiny", "--minutes", "-1", "--only", "ceilings"]
    assert measure.main(told) == 0
    document = json.loads((out / "figures.json").read_text())
    assert document["figures"] == []
    assert "rates" in document["absent"][0][1]


@pytest.mark.slow
def test_a_guided_step_takes_the_known_operations() -> None:
    """Stable Diffusion 1.5's UNet takes 0.80 TFLOP for 512 x 512 pixels (0.40 T multiplications with an addition)."""
    assert measure_riffusion.guided_step_operations() == pytest.approx(2 * 0.80e12, rel=0.01)


# What does not hold is seen.


def test_what_breaks_is_kept_and_counts(tmp_path: Path) -> None:
    report = empty()
    run_part(report, "one", lambda: 1 / 0)
    report.check("two", "small", False, "3 < 2")
    report.check("two", "large", True, "3 > 2")
    assert report.broken == ["two: small: 3 < 2", "one: ZeroDivisionError: division by zero"]
    report.save(tmp_path)
    table = (tmp_path / "figures.md").read_text()
    assert "- one: `ZeroDivisionError: division by zero`" in table
    assert "| two | small | NO | 3 < 2 |" in table


def test_a_broken_part_makes_the_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.gpu.report.measure_ceilings", lambda *_: 1 / 0)
    assert measure.main([str(tmp_path), "--device", "cpu", "--size", "tiny", "--only", "ceilings"]) == 1
    assert "ZeroDivisionError" in json.loads((tmp_path / "figures.json").read_text())["failures"][0][1]


def test_distance_by_hand() -> None:
    reference = torch.tensor([3.0, 4.0])
    assert distance(torch.tensor([3.0, 4.5]), reference) == pytest.approx(0.1)
    assert distance(torch.tensor([3.0, float("nan")]), reference) == float("inf")


def test_times_are_those_of_the_work() -> None:
    left = [0.05, 0.01, 0.01, 0.03]
    times = timed(HERE, lambda: __import__("time").sleep(left.pop(0)), 3)
    assert times.first >= 0.05
    assert 0.01 <= times.median < 0.03


def test_other_tokens_are_told_from_a_tie(tmp_path: Path, short: None) -> None:
    folder = full_size.save_full_musicgen(tmp_path, "tiny")
    backbone = measure_musicgen.opened(folder, HERE, "fp32")
    tokens = measure_musicgen.draw(backbone, 1, measure_musicgen.Sampling(temperature=0.0)).codes  # type: ignore[attr-defined]
    other = tokens.clone()
    other[0, 2, 5] = (other[0, 2, 5] + 1) % 32
    report = empty()
    measure_musicgen._compare(report, backbone, "same", tokens, tokens)
    measure_musicgen._compare(report, backbone, "other", tokens, other)
    assert [check.passed for check in report.checks] == [True, False]
    assert "from frame 5 on" in report.checks[1].detail
    # The drawn token is the likeliest at its place: a gap of nothing to itself, and above nothing to any other.
    assert measure_musicgen._gap(backbone, tokens, other, 5) > measure_musicgen.TIE


def test_draws_that_differ_are_told() -> None:
    codes = torch.zeros(2, 4, 6, dtype=torch.int64)
    other = codes.clone()
    other[1, 2, 3:] = 7
    draws = [Draw(torch.zeros(2, 1, 1), 8000, one, 50.0) for one in (codes, codes.clone(), other)]
    assert measure_musicgen._apart(draws[0], draws[1:2]) == ""
    assert measure_musicgen._apart(draws[0], draws[1:]) == "; draw 3 differs in 1 rows, from frame 3 on"


def test_a_plain_loop_makes_the_picture_that_d2m_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop that d2m is measured against does the same work: same seed, same picture."""
    folder = full_size.save_full_riffusion(tmp_path, "tiny")
    backbone = measure_riffusion.opened(folder, HERE, "fp32")
    seen: list[torch.Tensor] = []

    def heard(decoded: torch.Tensor, config: object) -> torch.Tensor:
        seen.append(decoded)
        return torch.zeros(len(decoded), 64, 64)

    monkeypatch.setattr("d2m_cli.backbones.riffusion.unfold", heard)
    measure_riffusion.draw(backbone, 1, 3)
    noise = torch.randn(backbone.latent_shape, generator=torch.Generator().manual_seed(0))
    loop = measure_riffusion.Plain(folder, backbone)
    monkeypatch.setattr(torch, "randn", lambda *_, **__: noise[None])
    plain = loop.picture(backbone, 1, 3)
    assert torch.allclose(plain, seen[0], atol=1e-4)


def test_a_provider_without_cuda_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert "onnxruntime-gpu" in str(measure_hrnet.provider_missing())
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [measure_hrnet.CUDA])
    assert measure_hrnet.provider_missing() is None


def test_the_stand_in_for_librosa_is_found_by_those_who_look_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "librosa"]:
        monkeypatch.delitem(sys.modules, name)

    def broken(name: str, package: str | None = None) -> object:
        raise ImportError(f"No module named 'platformdirs' ({name})")

    with monkeypatch.context() as patched:
        patched.setattr(importlib, "import_module", broken)
        assert "platformdirs" in str(without_librosa())
    try:
        assert importlib.util.find_spec("librosa") is sys.modules["librosa"].__spec__
        assert importlib.util.find_spec("librosa.filters") is not None
        assert sys.modules["librosa.filters"].mel is mel
    finally:
        del sys.modules["librosa"], sys.modules["librosa.filters"]


def test_mel_filters_without_librosa_are_librosas() -> None:
    import librosa

    for given in (
        {"sr": 44100, "n_fft": 17640, "n_mels": 512, "fmin": 0.0, "fmax": 10000.0},
        {"sr": 8000, "n_fft": 800, "n_mels": 64, "fmin": 0.0, "fmax": 4000.0},
    ):
        expected = librosa.filters.mel(**given, htk=True, norm=None)  # type: ignore[arg-type]
        found = mel(**given, htk=True, norm=None)  # type: ignore[arg-type]
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=1e-5)
