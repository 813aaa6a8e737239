"""From dances to encoders to music, on a made model of MusicGen's layout.

Its codec was trained to rebuild struck tones, and its decoder to write them as their captions say: "drum" is high,
"guitar" is low. Break dancers dance to drums, house dancers to guitars, which is for "@" to find out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

import d2m_cli.app
from d2m_cli.backbones.base import Draw, Sampling, parameters_digest
from d2m_cli.backbones.musicgen import MusicgenBackbone
from d2m_cli.backbones.registry import choose, open_backbone
from d2m_cli.ground.digests import file_sha256
from d2m_cli.inversion.checkpoint import Encoders
from d2m_cli.inversion.prompt import training_prompt
from d2m_cli.media.audio import load_audio, save_wav
from d2m_cli.pose.io import save_poses
from d2m_cli.training.loop.logs import read_table
from tests.fakes import FakePoses
from tests.tiny_models import save_tiny_musicgen, tiny_codec
from tests.training.made import bobbing

RUN = CliRunner()
LICENCE = "CC-BY-NC-4.0 (no commercial use)"

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Sums in another order differ in the last bit; tiny matrices are slower on many threads besides."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


PITCHES = {"drum": 700.0, "guitar": 200.0}
WORDS = {"BR": "drum", "HO": "guitar"}
CAPTION = "a {} music"
RATE = 8000


def song(word: str, bpm: float, first: float, seconds: float) -> np.ndarray:
    """(1, samples) with a tone struck on every beat."""
    samples = np.zeros(round(seconds * RATE), np.float32)
    times = np.arange(1200) / RATE
    tone = 0.6 * np.sin(2 * np.pi * PITCHES[word] * times) * np.exp(-40 * times)
    for beat in np.arange(first, seconds, 60 / bpm):
        at = round(beat * RATE)
        samples[at : at + 1200] += tone[: len(samples) - at]
    return samples[None]


def songs(count: int, seconds: float, seed: int) -> tuple[Tensor, list[str]]:
    """(count, 1, samples), and the word for each."""
    random = np.random.default_rng(seed)
    words = [("drum", "guitar")[number % 2] for number in range(count)]
    made = [song(word, random.uniform(70, 150), random.uniform(0, 0.5), seconds) for word in words]
    return torch.from_numpy(np.stack(made)), words


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sounds, words = songs(64, 2.56, seed=0)
    captions = [CAPTION.format(word) for word in words]
    folder = save_tiny_musicgen(tmp_path_factory.mktemp("model"), layers=2, sounds=sounds, captions=captions)
    (folder / "d2m.json").write_text(json.dumps({"licence": LICENCE}))
    return folder


@pytest.fixture(scope="module")
def backbone(model: Path) -> MusicgenBackbone:
    opened = open_backbone(choose(f"musicgen:{model}"), "cpu")
    assert isinstance(opened, MusicgenBackbone)
    return opened


def pitch_shares(audio: np.ndarray) -> dict[str, float]:
    """For each word, how much of the power lies within 60 Hz of its pitch."""
    power = np.abs(np.fft.rfft(audio.ravel())) ** 2
    at = np.fft.rfftfreq(audio.size, 1 / RATE)
    return {word: float(power[np.abs(at - pitch) < 60].sum() / power.sum()) for word, pitch in PITCHES.items()}


def rhythm(bpm: float, first: float) -> Tensor:
    """(1, 256) peaks on every beat."""
    sequence = torch.zeros(1, 256)
    sequence[0, (np.arange(first, 5.1, 60 / bpm) * 50).round().astype(int)] = 1
    return sequence


# The made model is worth testing on.


def rebuilt(codec: Any, audio: Tensor) -> tuple[float, float]:
    """Signal-to-noise ratio in dB, and correlation, of what comes out of a codec's tokens; silence has 0 of both."""
    with torch.no_grad():
        made = codec.decode(codec.encode(audio).audio_codes, [None]).audio_values
    ratio = 10 * torch.log10(audio.square().sum() / (audio - made).square().sum())
    return float(ratio), float(np.corrcoef(audio.flatten(), made.flatten())[0, 1])


def test_the_codec_has_learned_to_rebuild_sounds(backbone: MusicgenBackbone) -> None:
    heard, words = songs(8, 2.56, seed=1)
    torch.manual_seed(0)
    untrained = rebuilt(tiny_codec(), heard)
    assert untrained[0] < 0.5
    assert abs(untrained[1]) < 0.3
    for word in PITCHES:
        ratio, correlation = rebuilt(backbone.codec, heard[[word == other for other in words]])
        assert ratio > 3
        assert correlation > 0.7
    # Tokens say when: most frames are silent and alike, and those that are not lie around the beats.
    codes = backbone.targets(torch.from_numpy(song("guitar", 120, 0.2, 5.12))[None])[0]
    silent, _ = torch.mode(codes, -1, keepdim=True)
    loud = (codes[:1] != silent[:1]).any(0).nonzero()[:, 0] / 50
    beats = torch.arange(0.2, 5.12, 0.5)
    assert ((loud[:, None] - beats).abs().amin(0) < 0.08).all()
    assert len(loud) < 128


def test_the_decoder_has_learned_to_read(backbone: MusicgenBackbone) -> None:
    heard, words = songs(8, 5.12, seed=1)
    targets = backbone.targets(heard)
    told, other = (
        backbone.loss(targets, backbone.embed([CAPTION.format(word) for word in said], {})).mean().item()
        for said in (words, words[1:] + words[:1])
    )
    assert told < other - 0.1
    for word in PITCHES:
        condition, negative = backbone.embed([CAPTION.format(word)], {}), backbone.embed([""], {})
        shares = pitch_shares(backbone.generate(condition, negative, [1]).audio.numpy())
        assert max(shares, key=shares.__getitem__) == word


# d2m train.

FEW = ["--preset", "paper-musicgen", "--rhythm-encoder", "mlp", "--hidden", "64", "--epochs", "4", "--batch-size", "8",
       "--learning-rate", "1e-2", "--warmup", "3", "--hop", "1.28", "--samples", "0", "--device", "cpu"]  # fmt: skip
UPDATES = 4 * 5


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten songs with a dance each; eight with 5 windows for training, two for validation."""
    folder = tmp_path_factory.mktemp("pairs")
    lines = ["video,audio,genre,start,song,split"]
    for number in range(10):
        genre = ("BR", "HO")[number % 2]
        bpm, first = 80 + 6 * number, 0.1 + 0.03 * number
        save_wav(folder / f"song{number}.wav", song(WORDS[genre], bpm, first, 10.8), RATE)
        save_poses(folder / f"dance{number}.pose.npz", bobbing(bpm, first - 0.25, 10.3))
        split = "validation" if number > 7 else "train"
        lines.append(f"dance{number}.pose.npz,song{number}.wav,{genre},0.25,song{number},{split}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "manifest.csv"


def train(manifest: Path, model: Path, out: Path, *more: str) -> Any:
    arguments = ["train", manifest, "--backbone", f"musicgen:{model}", "--out", out, *FEW, *more]
    return RUN.invoke(d2m_cli.app.app, [*map(str, arguments), "--cache", str(manifest.parent / "cache")])


@pytest.fixture(scope="module")
def trained(manifest: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a training from end to end."""
    out = tmp_path_factory.mktemp("trained")
    before = file_sha256(model / "model.safetensors")
    result = train(manifest, model, out)
    assert result.exit_code == 0, result.output
    assert f"musicgen:{model} on cpu (float32)" in result.stderr
    assert f"licence of its weights: {LICENCE}" in result.stderr
    assert file_sha256(model / "model.safetensors") == before
    return out


def test_training_lowers_the_loss(trained: Path, backbone: MusicgenBackbone) -> None:
    assert len(read_table(trained / "updates.csv")) == UPDATES
    epochs = read_table(trained / "epochs.csv")
    # Nothing is drawn at random, and each epoch sees all windows; the last bits hang on the processor.
    training = [float(row["training_loss"]) for row in epochs[1:]]
    assert all(later < earlier + 0.003 for earlier, later in pairwise(training))
    assert training[0] - training[-1] > 0.01
    validation = [float(row["validation_loss"]) for row in epochs]
    assert len(validation) == 5
    assert validation[0] - min(validation[1:]) > 0.015
    # "@" has learned what each genre sounds like.
    encoders = Encoders.load(trained / "encoders.safetensors").eval()
    heard, words = songs(8, 5.12, seed=1)
    own = ["BR" if word == "drum" else "HO" for word in words]
    losses = []
    for genres in (own, own[1:] + own[:1]):
        with torch.no_grad():
            spoken = encoders.pseudo_words(rhythm(120, 0.1).expand(8, -1), genres)
            condition = backbone.embed([training_prompt(True)] * 8, spoken)
            losses.append(backbone.loss(backbone.targets(heard), condition).mean().item())
    assert losses[0] < losses[1] - 0.05


def test_the_backbone_is_left_as_it_was(trained: Path, model: Path, backbone: MusicgenBackbone) -> None:
    record = json.loads((trained / "train.json").read_text())
    assert record["backbone"] == {
        "name": f"musicgen:{model}",
        "licence": LICENCE,
        "sha256": backbone.fingerprint,
        "parameters_sha256": parameters_digest(backbone.modules()),
    }
    assert record["course"]["updates"] == UPDATES
    config = Encoders.load(trained / "encoders.safetensors").config
    assert (config.backbone, config.width, config.projector) == (f"musicgen:{model}", 24, "mlp")


def test_goes_on_after_a_cut_to_the_same_encoders(
    trained: Path, manifest: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, calls = MusicgenBackbone.loss, [0]

    def fail(self: MusicgenBackbone, *arguments: Any, **named: Any) -> Tensor:
        calls[0] += torch.is_grad_enabled()
        if calls[0] == 8:
            raise MemoryError
        return loss(self, *arguments, **named)

    monkeypatch.setattr(MusicgenBackbone, "loss", fail)
    cut = train(manifest, model, tmp_path)
    assert cut.exit_code == 1
    assert "memory ran out" in cut.output
    monkeypatch.undo()
    assert 0 < len(read_table(tmp_path / "updates.csv")) < UPDATES
    result = train(manifest, model, tmp_path)
    assert result.exit_code == 0, result.output

    def told(folder: Path, name: str, *columns: str) -> list[list[str]]:
        return [[row[column] for column in columns] for row in read_table(folder / name)]

    for name, columns in (("updates.csv", ("update", "loss", "gradient_norm")), ("epochs.csv", ("validation_loss",))):
        assert told(tmp_path, name, *columns) == told(trained, name, *columns)
    assert file_sha256(tmp_path / "encoders.safetensors") == file_sha256(trained / "encoders.safetensors")


def test_the_papers_network_and_vectors_for_every_layer_learn_too(manifest: Path, model: Path, tmp_path: Path) -> None:
    more = ["--rhythm-encoder", "attn-pos", "--per-layer", "--rhythm-vectors", "2", "--genre-vectors", "2"]
    result = train(manifest, model, tmp_path, *more, "--epochs", "1", "--precision", "bf16")
    assert result.exit_code == 0, result.output
    validation = [float(row["validation_loss"]) for row in read_table(tmp_path / "epochs.csv")]
    assert validation[1] < validation[0]
    config = Encoders.load(tmp_path / "encoders.safetensors").config
    assert (config.projector, config.layers) == ("attn-pos", 2)


# What the encoders say is heard.


def test_another_rhythm_or_genre_gives_other_tokens(trained: Path, backbone: MusicgenBackbone) -> None:
    encoders = Encoders.load(trained / "encoders.safetensors").eval()
    encoders.check(backbone)
    negative = backbone.embed([""], {})

    def play(sequence: Tensor, genre: str) -> Draw:
        with torch.no_grad():
            condition = backbone.embed([training_prompt(True)], encoders.pseudo_words(sequence, [genre]))
        return backbone.generate(condition, negative, [3], None, Sampling(guidance=3.0))

    first = play(rhythm(120, 0.1), "BR")
    assert torch.equal(play(rhythm(120, 0.1), "BR").codes, first.codes)
    other_dance, other_genre = play(rhythm(84, 0.4), "BR"), play(rhythm(120, 0.1), "HO")
    for other in (other_dance, other_genre):
        assert (other.codes != first.codes).float().mean() > 0.05
    # "@" has learned which word it stands for; how clearly hangs on how the machine rounds.
    drum, guitar = (pitch_shares(draw.audio.numpy()) for draw in (first, other_genre))
    assert drum["drum"] > guitar["drum"]
    assert guitar["guitar"] > drum["guitar"]


# d2m generate.

SECONDS = 7.5


@pytest.fixture
def generate(
    trained: Path, model: Path, make_video: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Run the command on one short video with a dancer that needs no network."""
    import d2m_cli.pose.estimator as estimator

    monkeypatch.setattr(estimator, "PoseEstimator", lambda options, **_: FakePoses(SECONDS))
    video = make_video(tmp_path / "dance.mp4", seconds=SECONDS)
    fixed = ["generate", video, "--backbone", f"musicgen:{model}", "--encoders", trained / "encoders.safetensors"]
    fixed += ["--out", tmp_path / "out", "--device", "cpu", "--candidates", "1"]
    return lambda *more: RUN.invoke(d2m_cli.app.app, [*map(str, fixed), *map(str, more)])


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Draw | None, Draw]]:
    """Context and result of every window that is drawn."""
    seen: list[tuple[Draw | None, Draw]] = []
    draw = MusicgenBackbone.generate

    def note(
        self: MusicgenBackbone, condition: Any, negative: Any, seeds: Any, context: Any = None, sampling: Any = None
    ) -> Draw:
        made = draw(self, condition, negative, seeds, context, sampling)
        seen.append((context, made))
        return made

    monkeypatch.setattr(MusicgenBackbone, "generate", note)
    return seen


def test_music_for_a_video(
    generate: Callable[..., Any], drawn: list[tuple[Draw | None, Draw]], model: Path, trained: Path, tmp_path: Path
) -> None:
    result = generate("--genre", "break", "--no-mp4")
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "out" / "dance.json").read_text())
    samples, rate = load_audio(tmp_path / "out" / "dance.wav")
    assert rate == 8000
    # The video lasts a little longer, by its last frame.
    assert samples.shape == (1, round(document["video"]["seconds"] * 8000))
    assert samples.shape[1] == pytest.approx(SECONDS * 8000, abs=400)
    drums = pitch_shares(samples)["drum"]
    assert document["licences"] == {"music": LICENCE}
    assert document["models"]["backbone"]["name"] == f"musicgen:{model}"
    assert document["models"]["backbone"]["licence"] == LICENCE
    assert document["models"]["encoders"] == {"sha256": file_sha256(trained / "encoders.safetensors")}
    assert [window["prompt"] for window in document["windows"]] == [training_prompt(True)] * 2
    # The second window goes on from the tokens that the first one ended with.
    (none, first), (context, second) = drawn
    assert none is None
    assert context is not None
    start = round(document["windows"][1]["start"] * 50)
    length = context.codes.shape[-1]
    assert torch.equal(second.codes[..., :length], first.codes[..., start:])
    assert length >= 64
    # The same again gives the same bytes, another genre does not.
    bytes_before = (tmp_path / "out" / "dance.wav").read_bytes()
    for genre, seed, same in (("break", 0, True), ("house", 0, False)):
        assert generate("--genre", genre, "--no-mp4", "--overwrite", "--seed", seed).exit_code == 0
        assert ((tmp_path / "out" / "dance.wav").read_bytes() == bytes_before) is same
    # How much more hangs on the training, whose last bits hang on the processor.
    assert drums > 1.2 * pitch_shares(load_audio(tmp_path / "out" / "dance.wav")[0])["drum"]


def test_sampling_is_handed_on(generate: Callable[..., Any], tmp_path: Path) -> None:
    chosen = ["--temperature", "0", "--guidance", "1", "--top-k", "5", "--top-p", "0.9", "--no-mp4"]
    result = generate(*chosen)
    assert result.exit_code == 0, result.output
    sampling = json.loads((tmp_path / "out" / "dance.json").read_text())["settings"]["sampling"]
    assert sampling == {"steps": 20, "guidance": 1.0, "temperature": 0.0, "top_k": 5, "top_p": 0.9}
    # Where the likeliest token is taken, a seed has no say.
    before = (tmp_path / "out" / "dance.wav").read_bytes()
    assert generate(*chosen, "--seed", "4", "--overwrite").exit_code == 0
    assert (tmp_path / "out" / "dance.wav").read_bytes() == before
