from __future__ import annotations

import importlib.util
import os
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from d2m_cli.backbones import audiocraft_files as files
from d2m_cli.backbones import compat_audiocraft
from d2m_cli.backbones.audiocraft import AudiocraftBackbone, by_length
from d2m_cli.backbones.audiocraft_loading import Loaded, load_codec, read_checkpoint
from d2m_cli.backbones.base import Condition, Identity, Sampling, parameters_digest
from d2m_cli.backbones.musicgen import MusicgenBackbone
from d2m_cli.errors import MissingExtraError, MissingWeightsError
from tests.tiny_audiocraft import codec_settings, codec_state, save_exported, save_twin
from tests.tiny_models import fit_codebooks, save_tiny_musicgen

needs_audiocraft = pytest.mark.skipif(
    importlib.util.find_spec("audiocraft") is None, reason="audiocraft is not installed"
)
GREEDY = Sampling(temperature=0, guidance=3.0)
PROMPT = "a @ music with * as the rhythm"
TINY = Identity("audiocraft:tiny", "MIT")


# Without audiocraft.


@pytest.mark.parametrize("missing", ["audiocraft", "omegaconf"])
def test_without_audiocraft_the_two_commands_are_told(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=re.escape("pip install --no-deps audiocraft==1.3.0")) as told:
        AudiocraftBackbone(tmp_path, TINY)
    assert "pip install 'd2m[audiocraft]'" in str(told.value)


def test_a_stand_in_gives_what_is_used_and_refuses_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("absent_package", "absent_package.inner"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    refusal = compat_audiocraft._refusal("absent_package", "a picture")
    assert compat_audiocraft._stand_in("absent_package.inner", used=len, refused=refusal) == [
        "absent_package",
        "absent_package.inner",
    ]
    from absent_package import inner  # type: ignore[import-not-found]

    assert inner.used([1, 2]) == 2
    with pytest.raises(MissingExtraError, match="a picture needs absent_package"):
        inner.refused(3, size=2)
    assert not hasattr(inner, "never_heard_of")
    for name in ("absent_package", "absent_package.inner"):
        del sys.modules[name]


def test_what_is_installed_keeps_its_place() -> None:
    import numpy

    assert compat_audiocraft._stand_in("numpy.fft", fft=None) == []
    assert sys.modules["numpy.fft"] is numpy.fft
    assert numpy.fft.fft is not None


def test_a_model_is_found_by_folder_file_signature_and_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "dora" / "xps" / "1a2b3c4d"
    run.mkdir(parents=True)
    (run / "checkpoint.th").touch()
    monkeypatch.setenv("AUDIOCRAFT_DORA_DIR", str(tmp_path / "dora"))
    assert files.find(str(run)) == files.find(str(run / "checkpoint.th")) == run
    assert files.find("1a2b3c4d") == files.find("//sig/1a2b3c4d") == run
    assert files.language_file(run) == run / "checkpoint.th"
    (run / "state_dict.bin").touch()
    assert files.language_file(run) == run / "state_dict.bin"

    common, own = tmp_path / "hub", tmp_path / "own"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(common))
    kept = put_in_cache(common, "facebook/musicgen-small", "state_dict.bin")
    with pytest.raises(MissingWeightsError, match="d2m weights pull musicgen-small-audiocraft"):
        files.find("facebook/musicgen-small")
    kept = put_in_cache(common, "facebook/musicgen-small", "compression_state_dict.bin")
    assert files.find("facebook/musicgen-small") == kept.parent
    monkeypatch.setenv("AUDIOCRAFT_CACHE_DIR", str(own))
    assert files.find("facebook/musicgen-small") == kept.parent
    own_copy = put_in_cache(own, "facebook/musicgen-small", "state_dict.bin")
    assert files.find("facebook/musicgen-small") == own_copy.parent


def test_what_is_not_there_is_named_with_the_way_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("AUDIOCRAFT_CACHE_DIR", raising=False)
    monkeypatch.setenv("AUDIOCRAFT_DORA_DIR", str(tmp_path / "dora"))
    with pytest.raises(MissingWeightsError, match="AUDIOCRAFT_DORA_DIR"):
        files.find("00000000")
    with pytest.raises(MissingWeightsError, match="d2m weights pull musicgen-small-audiocraft"):
        files.find("facebook/musicgen-small")
    with pytest.raises(MissingWeightsError, match="audiocraft:no such place': there is no such folder"):
        files.find("no such place")
    with pytest.raises(MissingWeightsError, match=r"backbone='musicgen:FOLDER'"):
        files.language_file(tmp_path)
    with pytest.raises(MissingWeightsError, match="d2m weights pull t5-base"):
        files.text_encoder_folder(tmp_path, "t5-base")
    with pytest.raises(MissingWeightsError, match="hf download google/flan-t5-base"):
        files.text_encoder_folder(tmp_path, "google/flan-t5-base")
    with pytest.raises(MissingWeightsError, match="d2m weights pull encodec-32khz"):
        files.codec_of_run(tmp_path, "//pretrained/facebook/encodec_32khz")
    with pytest.raises(MissingWeightsError, match="hf download facebook/encodec_24khz"):
        files.codec_of_run(tmp_path, "//pretrained/facebook/encodec_24khz")
    with pytest.raises(MissingWeightsError, match="dac_44khz"):
        files.codec_of_run(tmp_path, "//pretrained/dac_44khz")
    with pytest.raises(MissingWeightsError, match="compression_state_dict"):
        files.codec_of_run(tmp_path, "//sig/1a2b3c4d")


def test_the_text_encoder_lies_beside_the_model_or_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    # Of a model that was only begun to be fetched the settings alone are there.
    put_in_cache(cache, "google-t5/t5-base", "config.json")
    old_name = put_in_cache(cache, "t5-base", "config.json", "pytorch_model.bin").parent
    assert files.text_encoder_folder(tmp_path, "t5-base") == old_name
    new_name = put_in_cache(cache, "google-t5/t5-base", "config.json", "model.safetensors").parent
    assert files.text_encoder_folder(tmp_path, "t5-base") == new_name
    (tmp_path / "t5").mkdir()
    assert files.text_encoder_folder(tmp_path, "t5-base") == tmp_path / "t5"


def put_in_cache(cache: Path, hub_id: str, *names: str) -> Path:
    """Empty files in a cache of huggingface_hub's layout; gives the last."""
    home = cache / f"models--{hub_id.replace('/', '--')}"
    snapshot = home / "snapshots" / "0123456789"
    snapshot.mkdir(parents=True, exist_ok=True)
    (home / "refs").mkdir(exist_ok=True)
    (home / "refs" / "main").write_text("0123456789", encoding="utf-8")
    for name in names:
        (snapshot / name).touch()
    return snapshot / names[-1]


def test_rows_are_read_with_those_of_their_length() -> None:
    states = torch.arange(4 * 3, dtype=torch.float32).reshape(4, 3, 1) + 1
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [0, 0, 0], [1, 1, 0]], dtype=torch.bool)
    short, long = by_length(Condition(states * mask[..., None], mask))
    assert short.rows.tolist() == [0, 3]
    assert short.states.tolist() == [[[1.0], [2.0]], [[10.0], [11.0]]]
    assert long.rows.tolist() == [1, 2]
    assert long.states[1].tolist() == [[0.0], [0.0], [0.0]]
    (silent,) = by_length(Condition(torch.zeros(2, 3, 1), torch.zeros(2, 3, dtype=torch.bool)))
    assert silent.states.shape == (2, 1, 1)
    (whole,) = by_length(Condition(states))
    assert whole.states is states


# With audiocraft.


@pytest.fixture(scope="module", params=[1, 2], ids=["mono", "stereo"])
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One set of weights in the files of transformers and in those of audiocraft."""
    folder = tmp_path_factory.mktemp("twins")
    musicgen = save_tiny_musicgen(folder / "transformers", channels=request.param)
    return musicgen, save_twin(musicgen, folder / "audiocraft")


@pytest.fixture(scope="module")
def twins(folders: tuple[Path, Path]) -> tuple[AudiocraftBackbone, MusicgenBackbone]:
    ours = AudiocraftBackbone(folders[1], TINY)
    theirs = MusicgenBackbone(folders[0], Identity("musicgen:tiny", "MIT"))
    for one in (ours, theirs):
        # Half a second of music holds all that a window does.
        one.frames = 32
    return ours, theirs


@pytest.fixture(scope="module")
def mono(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mono")
    return save_twin(save_tiny_musicgen(folder / "transformers"), folder / "audiocraft")


@pytest.fixture(scope="module")
def backbone(mono: Path) -> AudiocraftBackbone:
    return AudiocraftBackbone(mono, TINY)


def random_tokens(backbone: AudiocraftBackbone | MusicgenBackbone, batch: int, steps: int) -> torch.Tensor:
    books = len(backbone.layout.delays)
    return torch.randint(0, backbone.layout.cardinality, (batch, books, steps), generator=torch.manual_seed(7))


def music(channels: int, batch: int) -> torch.Tensor:
    """Loud and soft noise and a rising tone."""
    samples = torch.arange(40960) / 8000
    noise = torch.randn(batch, channels, 40960, generator=torch.manual_seed(3))
    return noise * (0.2 * torch.sin(samples) ** 2) + 0.1 * torch.sin(400 * samples**2)


@needs_audiocraft
def test_both_libraries_read_the_text_alike(twins: tuple[AudiocraftBackbone, MusicgenBackbone]) -> None:
    vectors = torch.randn(3, 2, 24, generator=torch.manual_seed(1))
    ours, theirs = (one.embed([PROMPT, "*, 112 bpm", ""], {"*": vectors}) for one in twins)
    assert torch.equal(ours.mask, theirs.mask)
    assert (ours.states - theirs.states).abs().max() < 1e-6
    assert ours.states[2].abs().max() == 0


@needs_audiocraft
@pytest.mark.parametrize("layers", [1, 3], ids=["one for all layers", "P+"])
def test_both_libraries_give_the_same_logits(twins: tuple[AudiocraftBackbone, MusicgenBackbone], layers: int) -> None:
    """Rows of three lengths, one of them without text."""
    vectors = torch.randn(3, layers, 2, 24, generator=torch.manual_seed(1))
    tokens = random_tokens(twins[0], 3, 40)
    ours, theirs = (one._logits(tokens, one.embed([PROMPT, "*", ""], {"*": vectors})) for one in twins)
    assert theirs.abs().max() > 1
    assert (ours - theirs).abs().max() < 1e-4


@needs_audiocraft
@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("given", [0, 20], ids=["alone", "with context"])
def test_both_libraries_write_the_same_tokens(
    twins: tuple[AudiocraftBackbone, MusicgenBackbone], guidance: float, given: int
) -> None:
    sampling = Sampling(temperature=0, guidance=guidance)
    drawn = []
    for one in twins:
        condition, negative = one.embed([PROMPT, "funky guitar"], {}), one.embed([""], {})
        context = one.generate(condition, negative, [0, 0], None, GREEDY).end((32 - given) / 50) if given else None
        drawn.append(one.generate(condition, negative, [1, 2], context, sampling))
        if context is not None:
            assert torch.equal(drawn[-1].codes[..., :given], context.codes)
    assert drawn[0].codes.unique().numel() > 10
    assert torch.equal(drawn[0].codes, drawn[1].codes)
    assert (drawn[0].audio - drawn[1].audio).abs().max() < 1e-4


@needs_audiocraft
def test_both_libraries_code_audio_alike(twins: tuple[AudiocraftBackbone, MusicgenBackbone]) -> None:
    ours, theirs = (one.targets(music(one.layout.channels, 2)) for one in twins)
    assert ours.shape == (2, 4 * twins[0].layout.channels, 256)
    assert ours.unique().numel() > 16
    assert torch.equal(ours, theirs)
    audio, again = (one._decode(ours.long()) for one in twins)
    assert again.abs().max() > 0.01
    assert (audio - again).abs().max() < 1e-4


@needs_audiocraft
@pytest.mark.parametrize("shortcut", [False, True], ids=["as published", "with shortcuts"])
def test_a_codec_with_all_kinds_of_layers_is_the_same_in_both_libraries(tmp_path: Path, shortcut: bool) -> None:
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(0)
    theirs = EncodecModel(
        EncodecConfig(
            sampling_rate=8000, upsampling_ratios=[5, 4, 4, 2], num_filters=4, num_residual_layers=2,
            num_lstm_layers=2, hidden_size=16, codebook_dim=16, codebook_size=32, target_bandwidths=[1.0],
            audio_channels=1, use_causal_conv=False, use_conv_shortcut=shortcut,
        )
    ).eval()  # fmt: skip
    sounds = music(1, 2)
    fit_codebooks(theirs, sounds)
    model = SimpleNamespace(audio_encoder=theirs)
    save_exported(codec_state(model), codec_settings(model), tmp_path / "compression_state_dict.bin")
    compat_audiocraft.prepare()
    language_model = Loaded(SimpleNamespace(n_q=4, card=32), [], {})
    ours = load_codec(tmp_path, language_model, "cpu").network.eval()
    with torch.no_grad():
        codes, scale = ours.encode(sounds)
        assert scale is None
        assert codes.unique().numel() > 16
        assert torch.equal(codes, theirs.encode(sounds).audio_codes[0])
        assert (ours.decode(codes, None) - theirs.decode(codes[None], [None]).audio_values).abs().max() < 1e-4


@needs_audiocraft
def test_eq_3_is_the_loss_of_both_libraries(twins: tuple[AudiocraftBackbone, MusicgenBackbone]) -> None:
    from audiocraft.solvers.musicgen import MusicGenSolver

    ours, theirs = twins
    codes = random_tokens(ours, 2, 60)
    condition = ours.embed([PROMPT, "a funky music with a drum as the rhythm"], {})
    lost = ours.loss(codes, condition)
    assert lost.tolist() == pytest.approx(theirs.loss(codes, condition).tolist(), abs=1e-5)
    # Rows of one length each: audiocraft's own attention heeds padding.
    for row in range(2):
        states = condition.states[row : row + 1, : condition.mask[row].sum()]
        conditions = {"description": (states, torch.ones(1, states.shape[1]))}
        output = ours.language_model.compute_predictions(
            codes[row : row + 1], [], conditions, keep_only_valid_steps=False
        )
        expected, _ = MusicGenSolver._compute_cross_entropy(
            SimpleNamespace(), output.logits, codes[row : row + 1], output.mask
        )
        assert lost[row].item() == pytest.approx(expected.item(), abs=1e-5)


@needs_audiocraft
@pytest.mark.parametrize("given", [0, 20])
def test_tokens_are_those_of_audiocrafts_own_generate(backbone: AudiocraftBackbone, given: int) -> None:
    from audiocraft.modules.conditioners import ConditioningAttributes

    prompts = ["a drum music with funky as the rhythm", "a funky music with drum as the rhythm"]
    known = random_tokens(backbone, 2, given)
    expected = backbone.language_model.generate(
        prompt=known if given else None,
        conditions=[ConditioningAttributes(text={"description": prompt}) for prompt in prompts],
        max_gen_len=60,
        use_sampling=False,
        cfg_coef=3.0,
    )
    condition, negative = backbone.embed(prompts, {}), backbone.embed([""], {})
    assert condition.mask is not None
    assert condition.mask.all()
    length, backbone.frames = backbone.frames, 60
    context = backbone.generate(condition, negative, [0, 0], None, GREEDY)
    context = None if not given else type(context)(context.audio, 8000, known, 50.0)
    ours = backbone.generate(condition, negative, [0, 0], context, GREEDY)
    backbone.frames = length
    assert torch.equal(ours.codes, expected)


@needs_audiocraft
def test_a_row_does_not_hang_on_the_texts_beside_it(backbone: AudiocraftBackbone) -> None:
    tokens = random_tokens(backbone, 2, 20)
    alone = backbone._logits(tokens[:1], backbone.embed(["a music"], {}))
    beside = backbone._logits(tokens, backbone.embed(["a music", "a funky guitar, a drum, 112 bpm, a guitar"], {}))
    assert (alone - beside[:1]).abs().max() < 1e-5


@needs_audiocraft
def test_each_layer_reads_states_of_its_own(backbone: AudiocraftBackbone) -> None:
    tokens = random_tokens(backbone, 1, 8)
    states = backbone.embed([PROMPT], {}).states
    alike = states[:, None].expand(-1, 3, -1, -1)
    once = backbone._logits(tokens, Condition(states))
    assert (backbone._logits(tokens, Condition(alike)) - once).abs().max() < 1e-6
    for place in range(3):
        changed = alike.clone()
        changed[:, place] += 1
        assert (backbone._logits(tokens, Condition(changed)) - once).abs().max() > 1e-3


@needs_audiocraft
def test_gradient_flows_to_pseudo_words_and_nowhere_else(backbone: AudiocraftBackbone) -> None:
    before = parameters_digest(backbone.modules())
    assert set(backbone.modules()) == {"language_model", "text_encoder", "codec"}
    vector = torch.randn(2, 24, requires_grad=True)
    backbone.ready_for_training("fp32")
    backbone.loss(random_tokens(backbone, 2, 30), backbone.embed([PROMPT, "a *"], {"*": vector})).sum().backward()
    assert vector.grad is not None
    assert vector.grad.abs().sum(1).min() > 0
    assert all(p.grad is None for module in backbone.modules().values() for p in module.parameters())
    assert parameters_digest(backbone.modules()) == before


@needs_audiocraft
def test_a_window_is_whole_and_leaves_nothing_behind(backbone: AudiocraftBackbone) -> None:
    tokens = random_tokens(backbone, 1, 12)
    condition, negative = backbone.embed(["a guitar"], {}), backbone.embed([""], {})
    before = backbone._logits(tokens, condition)
    first = backbone.generate(condition, negative, [5])
    assert first.codes.shape == (1, 4, 256)
    assert first.audio.shape == (1, 1, 40960)
    assert torch.equal(backbone._logits(tokens, condition), before)


@needs_audiocraft
def test_one_seed_gives_the_same_bytes_and_another_does_not(
    twins: tuple[AudiocraftBackbone, MusicgenBackbone],
) -> None:
    backbone = twins[0]
    condition, negative = backbone.embed(["a guitar"], {}), backbone.embed([""], {})
    first, again, other = (backbone.generate(condition, negative, [seed]).audio for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@needs_audiocraft
def test_bf16_gives_almost_the_same_logits(mono: Path, backbone: AudiocraftBackbone) -> None:
    """Sums of a few numbers of 8 bits: some hundredths."""
    rough = AudiocraftBackbone(mono, TINY, precision="bf16")
    tokens = random_tokens(backbone, 2, 30)
    ours, exact = (one._logits(tokens, one.embed([PROMPT, "a drum"], {})) for one in (rough, backbone))
    assert 0 < (ours.float() - exact).abs().max() < 0.05 * exact.abs().max()
    assert rough.fingerprint == backbone.fingerprint
    assert "bfloat16" in rough.description


@needs_audiocraft
@pytest.mark.gpu
def test_fp16_on_a_gpu_gives_almost_the_same_logits_and_tokens_to_fill_a_window(
    mono: Path, backbone: AudiocraftBackbone
) -> None:
    quick = AudiocraftBackbone(mono, TINY, "cuda")
    tokens = random_tokens(backbone, 2, 30)
    ours = quick._logits(tokens.cuda(), quick.embed([PROMPT, "a drum"], {})).float().cpu()
    exact = backbone._logits(tokens, backbone.embed([PROMPT, "a drum"], {}))
    assert (ours - exact).abs().max() < 0.01 * exact.abs().max()
    drawn = quick.generate(quick.embed([PROMPT], {}), quick.embed([""], {}), [5])
    assert drawn.codes.shape == (1, 4, 256)
    quick.ready_for_training("bf16")
    vector = torch.randn(1, 24, device="cuda", requires_grad=True)
    quick.loss(drawn.codes, quick.embed(["a *"], {"*": vector})).sum().backward()
    assert vector.grad.abs().max() > 0


@needs_audiocraft
def test_nothing_is_asked_of_the_network_and_no_stand_in_is_left(mono: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.utils import is_spacy_available, is_torchaudio_available

    def refuse(*_: object, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    AudiocraftBackbone(mono, TINY)
    for name, says in (("spacy", is_spacy_available), ("torchaudio", is_torchaudio_available)):
        there = importlib.util.find_spec(name) is not None
        assert says() == there
        assert (name in sys.modules) <= there


# Files.


def changed(mono: Path, folder: Path, name: str, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a model whose settings in one file are changed."""
    folder.mkdir()
    for other in mono.iterdir():
        (folder / other.name).symlink_to(other)
    import yaml

    content = torch.load(mono / name, weights_only=True)
    settings = yaml.safe_load(content["xp.cfg"])
    change(settings)
    (folder / name).unlink()
    save_exported(content["best_state"], settings, folder / name)
    return folder


def put(place: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(settings: dict[str, Any]) -> None:
        *parents, last = place.split(".")
        for parent in parents:
            settings = settings[parent]
        settings[last] = value

    return change


MELODY = {"model": "chroma_stem", "chroma_stem": {"sample_rate": 32000, "n_chroma": 12}}


@needs_audiocraft
@pytest.mark.parametrize(
    ("name", "place", "value", "told"),
    [
        ("state_dict.bin", "conditioners.self_wav", MELODY, "reads description, self_wav"),
        ("state_dict.bin", "lm_model", "transformer_lm_magnet", "one frame after the other"),
        ("state_dict.bin", "conditioners.description.t5.normalize_text", True, "rewrites its prompts"),
        ("state_dict.bin", "fuser.cross", [], "cross-attention"),
        ("state_dict.bin", "fuser.cross_attention_pos_emb", True, "numbers the words"),
        ("state_dict.bin", "interleave_stereo_codebooks", {"use": True, "per_timestep": True}, "left and right"),
        ("state_dict.bin", "codebooks_pattern.delay.flatten_first", 2, "side by side"),
        ("state_dict.bin", "codebooks_pattern", {"modeling": "unroll"}, "side by side"),
        ("state_dict.bin", "transformer_lm.num_layers", 2, r"makes no language model .*layers\.2"),
        ("state_dict.bin", "transformer_lm.dim", "${nowhere}", "makes no language model"),
        ("state_dict.bin", "interleave_stereo_codebooks.use", True, "8 codebooks of 32"),
        ("compression_state_dict.bin", "seanet.n_filters", 40, "makes no codec"),
        ("compression_state_dict.bin", "sample_rate", 8800, "no whole number"),
    ],
)
def test_models_that_do_not_fit_are_refused(
    mono: Path, tmp_path: Path, name: str, place: str, value: object, told: str
) -> None:
    with pytest.raises(MissingWeightsError, match=told):
        AudiocraftBackbone(changed(mono, tmp_path / "model", name, put(place, value)), TINY)


@needs_audiocraft
@pytest.mark.parametrize("custom", [False, True])
def test_another_way_to_attend_reads_and_writes_the_same(
    mono: Path, backbone: AudiocraftBackbone, tmp_path: Path, custom: bool
) -> None:
    kind = {"memory_efficient": False, "custom": custom}
    folder = changed(mono, tmp_path / "model", "state_dict.bin", lambda told: told["transformer_lm"].update(kind))
    other = AudiocraftBackbone(folder, TINY)
    condition = backbone.embed([PROMPT, "a drum"], {})
    tokens = random_tokens(backbone, 2, 12)
    whole = other._logits(tokens, condition)
    assert (whole - backbone._logits(tokens, condition)).abs().max() < 1e-4
    step = other._stepping(condition, 12)
    assert (step(tokens[..., :5]) - whole[:, :, 4]).abs().max() < 1e-4
    assert (step(tokens[..., 5:6]) - whole[:, :, 5]).abs().max() < 1e-4
    assert (step(tokens[..., 6:7]) - whole[:, :, 6]).abs().max() < 1e-4


@needs_audiocraft
def test_a_codec_that_keeps_the_loudness_is_refused(mono: Path, tmp_path: Path) -> None:
    folder = changed(mono, tmp_path / "model", "compression_state_dict.bin", put("encodec.renormalize", True))
    with pytest.raises(MissingWeightsError, match="loudness"):
        AudiocraftBackbone(folder, TINY).targets(torch.randn(1, 1, 40960))


class Command:
    """What a malicious checkpoint would hold."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch touched-by-pickle",)


@needs_audiocraft
def test_files_that_are_no_checkpoints_are_named_and_run_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"xp.cfg": "a: 1", "best_state": {"w": torch.ones(1)}, "evil": Command()}, "evil.bin")
    torch.save({"xp.cfg": "a: 1"}, "half.bin")
    Path("junk.bin").write_bytes(b"no checkpoint at all")
    Path("empty.bin").touch()
    for name in ("evil", "half", "junk", "empty"):
        with pytest.raises(MissingWeightsError, match=f"{name}.bin: is no checkpoint of audiocraft"):
            read_checkpoint(tmp_path / f"{name}.bin")
    assert not Path("touched-by-pickle").exists()


@needs_audiocraft
def test_a_run_of_a_solver_is_read_with_the_codec_of_another_run(mono: Path, tmp_path: Path) -> None:
    """Runs hold their settings as pickled objects of OmegaConf, and much besides the best weights."""
    from omegaconf import OmegaConf

    runs = tmp_path / "xps"
    for signature, name in (("1a2b3c4d", "state_dict.bin"), ("5e6f7a8b", "compression_state_dict.bin")):
        content = torch.load(mono / name, weights_only=True)
        settings = OmegaConf.create(content["xp.cfg"])
        settings.compression_model_checkpoint = "//sig/5e6f7a8b"
        settings.dora = {"dir": "/checkpoint/${oc.env:USER}/outputs", "exclude": ["device", "wandb.*"]}
        settings.optim = {"lr": 1e-4, "ema": {"use": True, "device": "${device}"}, "max_norm": None}
        OmegaConf.set_struct(settings, True)
        parameter = nn.Parameter(torch.ones(2))
        optimizer = torch.optim.AdamW([parameter])
        parameter.sum().backward()
        optimizer.step()
        (runs / signature).mkdir(parents=True)
        torch.save(
            {
                "history": [{"train": {"ce": 3.0}}],
                "xp.cfg": settings,
                "xp.sig": signature,
                "best_state": {"model": content["best_state"]},
                "fsdp_best_state": {},
                "model": {name: torch.zeros_like(value) for name, value in content["best_state"].items()},
                "optimizer": optimizer.state_dict(),
            },
            runs / signature / "checkpoint.th",
        )
    (runs / "1a2b3c4d" / "t5").symlink_to(mono / "t5")
    run, exported = (AudiocraftBackbone(folder, TINY) for folder in (runs / "1a2b3c4d", mono))
    assert parameters_digest(run.modules()) == parameters_digest(exported.modules())
    assert run.fingerprint != exported.fingerprint
    assert run.targets_settings == exported.targets_settings


@needs_audiocraft
def test_a_codec_may_be_named_and_be_one_of_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import MusicgenForConditionalGeneration

    plain = save_twin(save_tiny_musicgen(tmp_path / "transformers"), tmp_path / "plain")
    cache = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    snapshot = put_in_cache(cache, "facebook/encodec_32khz", "config.json").parent
    model = MusicgenForConditionalGeneration.from_pretrained(tmp_path / "transformers")
    model.audio_encoder.save_pretrained(snapshot)
    named = tmp_path / "named"
    named.mkdir()
    for name in ("state_dict.bin", "t5"):
        (named / name).symlink_to(plain / name)
    without = AudiocraftBackbone(named, TINY)
    torch.save({"pretrained": "facebook/encodec_32khz", "exported": True}, named / "compression_state_dict.bin")
    backbone, expected = AudiocraftBackbone(named, TINY), AudiocraftBackbone(plain, TINY)
    codes = expected.targets(music(1, 1))
    assert torch.equal(backbone.targets(music(1, 1)), codes)
    assert torch.equal(without.targets(music(1, 1)), codes)
    assert (backbone._decode(codes.long()) - expected._decode(codes.long())).abs().max() < 1e-4
    assert backbone.fingerprint == without.fingerprint != expected.fingerprint


@needs_audiocraft
def test_the_fingerprint_is_of_all_three_parts(mono: Path, tmp_path: Path, backbone: AudiocraftBackbone) -> None:
    seen = {backbone.fingerprint}
    for part in ("state_dict.bin", "compression_state_dict.bin", "t5/model.safetensors"):
        folder = tmp_path / part.replace("/", "-")
        (folder / "t5").mkdir(parents=True)
        for path in (*mono.glob("*.bin"), *(mono / "t5").iterdir()):
            copy = folder / path.relative_to(mono)
            copy.write_bytes(path.read_bytes())
        same = AudiocraftBackbone(folder, TINY)
        assert same.fingerprint == backbone.fingerprint
        del same.fingerprint
        (folder / part).write_bytes((folder / part).read_bytes() + b"\0")
        seen.add(same.fingerprint)
    assert len(seen) == 4
