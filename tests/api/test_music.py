"""`d2m.generate` with the embedded networks, and what a `Generator` keeps."""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from typer.testing import CliRunner

import d2m_cli as d2m
import d2m_cli.api.loaders as loaders
import d2m_cli.app
from d2m_cli.backbones.sampling import PLAIN_SAMPLING
from d2m_cli.errors import MissingWeightsError, UsageError, VideoError
from d2m_cli.media.audio import load_audio, save_wav
from d2m_cli.pose.track import Poses, PoseSource
from tests.fakes import FakeBackbone, FakeEncoders, FakePoses
from tests.waiting import PATIENCE

VIDEO = Path(__file__).parents[2] / "examples" / "videos" / "lock_112.mp4"


def cut(video: Path, out: Path, seconds: float) -> Path:
    """The pictures of a video's beginning, as they are."""
    with av.open(str(video)) as source, av.open(str(out), "w") as target:
        stream = source.streams.video[0]
        copied = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.pts is not None and packet.pts * stream.time_base < seconds:
                packet.stream = copied
                target.mux(packet)
    return out


@pytest.mark.slow
def test_python_makes_what_the_command_line_makes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    video = cut(VIDEO, tmp_path / "lock.mp4", 2.0)
    words = ["generate", video, "--out", tmp_path / "out", "--no-mp4", "--genre", "lock", "--prompt", "funky guitar"]
    words += ["--seed", "3", "--steps", "2", "--candidates", "1", "--device", "cpu", "--backbone", "embedded"]
    result = CliRunner().invoke(d2m_cli.app.app, [*map(str, words)])
    assert result.exit_code == 0, result.output
    capfd.readouterr()
    options = d2m.GenerateOptions(candidates=1, sampling=d2m.Sampling(steps=2))
    made = d2m.generate(
        video, genre="lock", prompt="funky guitar", seed=3, options=options,
        generator=d2m.Generator("embedded", device="cpu"),
    )  # fmt: skip
    assert capfd.readouterr() == ("", "")
    # Under the same names: the record says what was written beside it.
    python = tmp_path / "python"
    python.mkdir()
    for name in ("lock.wav", "lock.json"):
        made.save(python / name)
        assert (python / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    samples, rate = load_audio(tmp_path / "out" / "lock.wav")
    assert made.music.sample_rate == rate
    # 16 bits on disk.
    np.testing.assert_allclose(made.music.samples, samples, atol=1 / 32767)
    assert made.rhythm.duration == pytest.approx(2.0, abs=0.1)
    assert [take.prompt for take in made.takes] == ["a @ music with * as the rhythm, funky guitar"]


NOT_NEEDED = (
    *("onnxruntime", "cv2", "decord", "onnx", "matplotlib", "sklearn", "pandas", "mir_eval", "ray", "tensorboard"),
    *("torchvision", "torchaudio", "audiocraft", "diffusers.pipelines", "transformers.pipelines"),
    *(f"d2m_cli.{room}" for room in ("training.run", "training.loop.trainer", "doctor", "batch.engines.ray_holder")),
    *(f"transformers.models.{model}" for model in ("t5", "encodec", "musicgen", "clap", "bert", "llama")),
    *(f"d2m_cli.backbones.{family}" for family in ("musicgen", "audiocraft", "ace_step", "stable_audio")),
)
"""What music of the embedded model for a dance whose poses are kept has no use for.

What diffusers imports for its own sake, such as all its other networks and PyTorch's compiler, is not in d2m's hand.
"""


@pytest.mark.slow
def test_only_what_music_needs_is_imported_where_poses_are_kept(tmp_path: Path) -> None:
    video, cache = cut(VIDEO, tmp_path / "lock.mp4", 2.0), tmp_path / "cache"
    d2m.estimate_poses(video, d2m.PoseOptions(device="cpu"), cache=cache)
    script = (
        "import sys\n"
        "from d2m_cli.app import app\n"
        "try:\n"
        "    app(sys.argv[1:])\n"
        "except SystemExit as end:\n"
        "    code = end.code\n"
        "needed = [name for name in ('torch', 'diffusers', 'transformers.models.clip') if name in sys.modules]\n"
        f"print(code, needed, [name for name in {NOT_NEEDED!r} if name in sys.modules])\n"
    )
    words = [
        "generate",
        video,
        "--out",
        tmp_path / "out",
        "--cache",
        cache,
        "--genre",
        "lock",
        "--backbone",
        "embedded",
    ]
    words += ["--steps", "2", "--candidates", "1", "--device", "cpu"]
    done = subprocess.run([sys.executable, "-c", script, *map(str, words)], capture_output=True, text=True, check=True)
    said = done.stdout.splitlines()[-1]
    assert said == "0 ['torch', 'diffusers', 'transformers.models.clip'] []", done.stderr
    assert (tmp_path / "out" / "lock.mp4").is_file()


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Fakes in place of all networks; the list holds what was loaded, in order."""
    seen: list[object] = []

    def backbone(choice: object, device: str, compiled: bool, offloaded: bool, precision: str) -> FakeBackbone:
        seen.append(precision)
        return FakeBackbone()

    def encoders(path: Path) -> FakeEncoders:
        seen.append(path.name)
        made = FakeEncoders()
        made.check = lambda backbone: None  # type: ignore[attr-defined]
        made.sha256 = "e" * 64  # type: ignore[attr-defined]
        return made

    def poses(dancers: str | int, device: str, decoder: str, **_: object) -> FakePoses:
        seen.append(dancers)
        return FakePoses(1.0)

    monkeypatch.setattr(loaders, "_open_backbone", backbone)
    monkeypatch.setattr(loaders, "load_encoders", encoders)
    monkeypatch.setattr(loaders, "load_estimator", poses)
    return seen


def test_a_generator_loads_what_options_need_and_keeps_it(loaded: list[object], make_video, tmp_path: Path) -> None:
    first, second = (make_video(tmp_path / f"{name}.mp4", seconds=1, fps=fps) for name, fps in (("a", 25), ("b", 20)))
    generator = d2m.Generator("embedded")
    assert loaded == []
    made = [d2m.generate(video, genre="lock", generator=generator) for video in (first, second, first)]
    # The backbone is loaded while the dancers are looked for.
    assert sorted(map(str, loaded)) == ["auto", "encoders.safetensors", "largest"]
    assert made[0].music.samples.tobytes() == made[2].music.samples.tobytes()
    assert made[0].music.samples.tobytes() != made[1].music.samples.tobytes()
    # Only what other options need anew is loaded anew; words need no encoders.
    generator.generate(first, d2m.GenerateOptions(dancers="all", rhythm="words"))
    assert sorted(map(str, loaded)) == ["all", "auto", "encoders.safetensors", "largest"]
    assert made[0].models.encoders_sha256 == "e" * 64
    assert made[0].options.genre == "LO"


def test_networks_are_loaded_while_the_first_video_is_looked_at(
    loaded: list[object], make_video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at, here = threading.Event(), threading.Event()

    def backbone(*_: object) -> FakeBackbone:
        # One after the other, whichever came first, this would wait in vain.
        assert looked_at.wait(PATIENCE)
        here.set()
        return FakeBackbone()

    class Looking(FakePoses):
        def estimate(self, *given: Any, **named: Any) -> Poses:
            looked_at.set()
            assert here.wait(PATIENCE)
            return super().estimate(*given, **named)

    monkeypatch.setattr(loaders, "_open_backbone", backbone)
    monkeypatch.setattr(loaders, "load_estimator", lambda *_, **__: Looking(1.0))
    video = make_video(tmp_path / "a.mp4", seconds=1)
    made = d2m.generate(video, options=d2m.GenerateOptions(candidates=1), generator=d2m.Generator("embedded"))
    assert made.music.seconds == pytest.approx(1.0, abs=0.1)


def test_another_backbone_is_loaded_once_the_one_before_is_gone(
    loaded: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[FakeBackbone]] = []
    alive: list[int] = []

    def backbone(*_: object) -> FakeBackbone:
        alive.append(sum(one() is not None for one in made))
        new = FakeBackbone()
        new.itself = new  # type: ignore[attr-defined]  # as networks with hooks hold themselves
        made.append(weakref.ref(new))
        return new

    monkeypatch.setattr(loaders, "_open_backbone", backbone)
    generator = d2m.Generator("embedded")
    for precision in ("auto", "fp32", "fp32", "auto"):
        models = generator.models(d2m.GenerateOptions(precision=precision))
        assert models.desk is not None
        assert models.desk.backbone is models.backbone
        del models
    assert alive == [0, 0, 0]


def test_threads_that_want_other_backbones_take_turns(
    loaded: list[object], make_video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[FakeBackbone]] = []
    alive: list[int] = []

    def backbone(*_: object) -> FakeBackbone:
        alive.append(sum(one() is not None for one in made))
        new = FakeBackbone()
        made.append(weakref.ref(new))
        return new

    monkeypatch.setattr(loaders, "_open_backbone", backbone)
    video, generator = make_video(tmp_path / "a.mp4", seconds=1), d2m.Generator("embedded")
    results: list[d2m.Generated] = []

    def generate(precision: str) -> None:
        results.append(generator.generate(video, d2m.GenerateOptions(precision=precision, candidates=1)))

    threads = [threading.Thread(target=generate, args=[one]) for one in ("auto", "fp32", "auto", "fp32")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(results) == 4
    assert 2 <= len(alive) <= 4
    assert set(alive) == {0}


def test_a_generator_tells_what_its_backbone_does_and_asks_for_nobody_else(
    loaded: list[object], make_video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    class Slow(FakeBackbone):
        def forecast(self, seconds: float, sampling: object, count: int) -> str:
            asked.append(seconds)
            return "takes long"

        def unread(self, prompt: str, pseudo_words: object) -> str:
            return prompt[-4:] if prompt else ""

    monkeypatch.setattr(loaders, "_open_backbone", lambda *_: Slow())
    video, options = make_video(tmp_path / "a.mp4", seconds=1), d2m.GenerateOptions(prompt="a harp", candidates=1)
    told: list[str] = []
    first = d2m.Generator("embedded", tell=told.append).generate(video, options)
    assert told == ["takes long", "the prompt is longer than the model reads: not read is 'harp'"]
    assert len(asked) == 1
    again = d2m.Generator("embedded").generate(video, options)
    assert len(asked) == 1
    assert again.takes[0].unread == first.takes[0].unread == "harp"


def test_what_is_given_goes_before_the_options(loaded: list[object], make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1)
    options = d2m.GenerateOptions("lock", "a harp", seed=1, candidates=1)
    made = d2m.generate(video, prompt="a lute", seed=0, options=options, generator=d2m.Generator("embedded"))
    # How it was drawn is told in full.
    drawn = PLAIN_SAMPLING
    assert made.options == d2m.GenerateOptions("LO", "a lute", seed=0, candidates=1, sampling=drawn)


def test_the_genre_of_a_name(loaded: list[object], make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "gWA_sBM_c01_d26_mWA0_ch02_1.mp4", seconds=1)
    generator = d2m.Generator("embedded")
    made = [d2m.generate(video, genre=genre, generator=generator) for genre in ("auto", "waack")]
    assert made[0].options == made[1].options
    assert made[0].record == made[1].record
    assert made[0].music.samples.tobytes() == made[1].music.samples.tobytes()


def test_what_can_not_be_used_is_said(loaded: list[object], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"encoders .*none: no such file"):
        d2m.Generator(encoders=tmp_path / "none")
    with pytest.raises(UsageError, match="unknown backbone 'theremin'"):
        d2m.Generator("theremin").models(d2m.GenerateOptions())
    with pytest.raises(MissingWeightsError, match="no such folder"):
        d2m.Generator(f"riffusion:{tmp_path / 'none'}").encoders_for(d2m.GenerateOptions())
    with pytest.raises(VideoError, match=r"none\.mp4"):
        d2m.generate(tmp_path / "none.mp4", generator=d2m.Generator("embedded"))


def test_with_a_cache_pose_networks_are_loaded_for_poses_that_nobody_kept(
    make_video, tmp_path: Path, monkeypatch
) -> None:
    import d2m_cli.pose.estimator as estimator

    loads: list[object] = []
    source = PoseSource("p", "d", (("p", "1" * 64),), "CPUExecutionProvider", "pyav", (), "0")

    class Sourced(FakePoses):
        def estimate(self, video: Path, report=None, timeline=None):
            return replace(super().estimate(video), source=source)

    def load(options: object, **_: object) -> FakePoses:
        loads.append(options)
        return Sourced(1.0)

    monkeypatch.setattr(estimator, "PoseEstimator", load)
    track = tmp_path / "song.wav"
    save_wav(track, np.random.default_rng(0).normal(0, 0.1, (1, 24000)).astype(np.float32), 8000)
    video, options = make_video(tmp_path / "a.mp4", seconds=1), d2m.GenerateOptions(music=track)
    told: list[str] = []

    def made() -> d2m.Generated:
        generator = d2m.Generator(cache=tmp_path / "kept", tell=told.append)
        assert generator.track_models(options).description.endswith("poses: loaded where none are kept")
        return generator.generate(video, options)

    first, again = made(), made()
    assert len(loads) == 1
    assert told == ["poses: fake-pose on CPUExecutionProvider"]
    # Who loaded the networks, and when, makes no other record.
    assert first.models.description == "music: song.wav; poses: p with d on CPUExecutionProvider"
    assert again.models.description == first.models.description
    assert first.models.poses == again.models.poses == {"p": "1" * 64}
    assert first.music.samples.tobytes() == again.music.samples.tobytes()
    # Without one they are needed in any case, and are there before a video is looked at.
    d2m.Generator().track_models(options)
    assert len(loads) == 2
    with pytest.raises(UsageError, match="device='cuda': no NVIDIA GPU is visible here"):
        d2m.Generator(device="cuda", cache=tmp_path / "kept").track_models(options)
