"""Several pieces for a video, passages and tables, on a tiny backbone that does what the large one does."""

from __future__ import annotations

import json
import shutil
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import d2m_cli.app
from d2m_cli.backbones.spectrogram import SpectrogramConfig
from d2m_cli.batch.shown import FileReport
from d2m_cli.generation.windows import candidate_seed
from d2m_cli.media.audio import save_wav
from d2m_cli.media.video import probe
from tests.fakes import FakePoses

FPS = 25


@pytest.fixture(scope="module")
def model(tiny_riffusion: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with windows of 5.12 s."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    shutil.copytree(tiny_riffusion, folder)
    config = folder / "spectrogram.json"
    replace(SpectrogramConfig.load(config), columns=512, griffin_lim_iterations=1).save(config)
    return folder


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """Names of the videos that are looked at, and how long the passage is; what is seen needs no network."""
    import d2m_cli.pose.estimator as estimator

    seen: list[tuple[str, float]] = []

    class Watched(FakePoses):
        def estimate(self, video: Path, report=None, timeline=None):
            seen.append((video.name, timeline.duration))
            return FakePoses(timeline.duration).estimate(video)

    monkeypatch.setattr(estimator, "PoseEstimator", lambda options, **_: Watched(1.0))
    return seen


@pytest.fixture
def generate(model: Path, make_video, tmp_path: Path, looked_at, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run the command beside two short videos."""
    for name, seconds in (("a", 2.0), ("b", 1.0)):
        make_video(tmp_path / f"{name}.mp4", seconds=seconds, fps=FPS)
    monkeypatch.chdir(tmp_path)
    fixed = ["--backbone", f"riffusion:{model}", "--device", "cpu", "--steps", "2", "--candidates", "1", "--json"]
    fixed += ["--rhythm", "words", "--out", "out"]

    def run(*more: object) -> Any:
        result = CliRunner().invoke(d2m_cli.app.app, ["generate", *fixed, *map(str, more)])
        assert result.exit_code < 2, result.output
        return json.loads(result.stdout)

    return run


def states(told: Any) -> list[str]:
    return [item["state"] for item in told["items"]]


def record(stem: str) -> Any:
    return json.loads(Path(f"out/{stem}.json").read_text())


def samples(stem: str) -> tuple[int, int]:
    """Number and rate of the samples."""
    with wave.open(f"out/{stem}.wav") as file:
        return file.getnframes(), file.getframerate()


@pytest.mark.parametrize("kept", ["--cache=cache", "--no-cache"])
def test_variations_have_seeds_and_files_of_their_own_and_share_a_look(
    generate, looked_at, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    steps: list[str] = []
    wait = FileReport.wait

    def noted(self: FileReport, step: str) -> None:
        steps.append(step)
        wait(self, step)

    monkeypatch.setattr(FileReport, "wait", noted)
    told = generate("a.mp4", "b.mp4", "--variations", "2", "--seed", "7", "--no-mp4", kept)
    # Who has another look for it is not counted as looking.
    assert steps.count("waiting for what sees this video for another piece") == 4
    assert steps.count("waiting to be looked at") == 2
    assert states(told) == ["done"] * 4
    assert [item["details"]["seed"] for item in told["items"]] == [7, 8, 7, 8]
    assert sorted(name for name, _ in looked_at) == ["a.mp4", "b.mp4"]
    for stem, seed in (("a_1", 7), ("a_2", 8), ("b_1", 7), ("b_2", 8)):
        made = record(stem)
        assert made["settings"]["seed"] == seed
        assert made["windows"][0]["seed"] == candidate_seed(seed, made["video"]["content"], 0, 0)
    assert Path("out/a_1.wav").read_bytes() != Path("out/a_2.wav").read_bytes()
    # More of them leave those that are there.
    told = generate("a.mp4", "--variations", "3", "--seed", "7", "--no-mp4", kept)
    assert states(told) == ["already done", "already done", "done"]
    assert record("a_3")["settings"]["seed"] == 9
    # A piece is the same music as it is when asked for alone.
    alone = generate("a.mp4", "--seed", "8", "--no-mp4", kept, "--name", "{stem}_2")
    assert states(alone) == ["already done"]


def test_a_passage(generate, looked_at) -> None:
    told = generate("a.mp4", "--start", "0.5", "--duration", "0:01.2")
    assert states(told) == ["done"]
    assert told["items"][0]["details"]["start"] == 0.5
    assert looked_at == [("a.mp4", 1.2)]
    count, rate = samples("a")
    assert count == round(1.2 * rate)
    made = record("a")
    assert (made["settings"]["start"], made["settings"]["duration"]) == (0.5, 1.2)
    assert made["video"]["seconds"] == 1.2
    assert "does not begin with a picture that stands by itself" in made["mp4"]
    film = probe(Path("out/a.mp4"))
    # Picture 12 stands at 0.5 s, and picture 42 begins at 1.68 s, the last before 1.7 s.
    assert film.frames == 31
    assert film.duration == pytest.approx(1.2, abs=0.002)
    assert film.times[1] == pytest.approx(0.02, abs=0.001)
    # Another passage is other music; the whole video has no word of one in its record.
    assert states(generate("a.mp4", "--start", "0.5", "--duration", "1.2")) == ["already done"]
    assert states(generate("a.mp4", "--start", "0.6", "--duration", "1.2")) == ["done"]
    assert states(generate("a.mp4", "--no-mp4")) == ["done"]
    assert "start" not in record("a")["settings"]
    assert samples("a")[0] == 2 * rate


def test_a_passage_beyond_the_end_fails_with_the_length(generate) -> None:
    told = generate("a.mp4", "b.mp4", "--start", "1.5", "--no-mp4")
    assert states(told) == ["done", "failed"]
    assert told["items"][1]["error"] == (
        "b.mp4: the passage from 1.5 s on begins after the video, which lasts 1.000 s; give an earlier --start"
    )
    told = generate("a.mp4", "--duration", "2.5", "--no-mp4")
    assert "ends after the video, which lasts 2.000 s" in told["items"][0]["error"]


def test_each_line_of_a_table_has_its_own(generate, tmp_path: Path, looked_at) -> None:
    rate = 22050
    times = np.arange(30 * rate) / rate
    beats = np.exp(-20 * (times % 0.5)) * np.sin(2 * np.pi * 200 * times)
    save_wav(tmp_path / "own.wav", beats[None].astype(np.float32), rate)
    table = Path("table.csv")
    table.write_text(
        "video,genre,prompt,negative_prompt,seed,start,duration,music\n"
        "a.mp4,lock,harp,shouting,3,,,\n"
        "a.mp4,,drums,,,0.5,1,\n"
        "b.mp4,house,,,,,,own.wav\n"
    )
    told = generate("--manifest", table, "--genre", "krump", "--seed", "1", "--no-mp4")
    assert states(told) == ["done"] * 3
    first, second, track = record("a_1"), record("a_2"), record("b")
    asked = ("genre", "prompt", "negative_prompt", "seed")
    assert [first["settings"][name] for name in asked] == ["LO", "harp", "shouting", 3]
    assert [second["settings"][name] for name in asked] == ["KR", "drums", "", 1]
    assert "harp" in first["windows"][0]["prompt"]
    assert "drums" in second["windows"][0]["prompt"]
    assert samples("a_2")[0] == samples("a_2")[1]
    assert track["models"]["backbone"]["name"] == "track:own.wav"
    assert sorted(looked_at) == [("a.mp4", 1.0), ("a.mp4", 2.0), ("b.mp4", 1.0)]
    # The table again, and the same asked for on the command line.
    assert states(generate("--manifest", table, "--genre", "krump", "--seed", "1", "--no-mp4")) == ["already done"] * 3
    same = ("--genre", "lock", "--prompt", "harp", "--negative-prompt", "shouting", "--seed", "3")
    assert states(generate("a.mp4", *same, "--no-mp4", "--name", "{stem}_1")) == ["already done"]
    other = ("--genre", "krump", "--prompt", "drums", "--seed", "1", "--start", "0.5", "--duration", "1")
    assert states(generate("a.mp4", *other, "--no-mp4", "--name", "{stem}_2")) == ["already done"]
    assert states(generate("b.mp4", "--music", "own.wav", "--no-mp4")) == ["already done"]
    # In another order.
    head, *lines = table.read_text().splitlines()
    Path("sorted.csv").write_text("\n".join([head, *reversed(lines)]))
    told = generate("--manifest", "sorted.csv", "--genre", "krump", "--seed", "1", "--no-mp4")
    assert states(told) == ["already done"] * 3
    # A line that changes concerns its piece alone.
    table.write_text(table.read_text().replace("drums", "bells"))
    told = generate("--manifest", table, "--genre", "krump", "--seed", "1", "--no-mp4")
    assert states(told) == ["already done", "done", "already done"]


def test_words_of_a_genre_are_no_setting_of_lines_with_another(generate) -> None:
    table = Path("table.csv")
    table.write_text("video,genre\na.mp4,house\nb.mp4,lock\n")
    generate("--manifest", table, "--genre", "lock", "--genre-words", "slap bass", "--no-mp4")
    assert [record(stem)["settings"]["genre_words"] for stem in ("a", "b")] == [None, "slap bass"]
    assert "slap bass" not in record("a")["windows"][0]["prompt"]
    assert "slap bass" in record("b")["windows"][0]["prompt"]
    assert states(generate("a.mp4", "--genre", "house", "--no-mp4")) == ["already done"]
    words = ("--genre", "lock", "--genre-words", "slap bass")
    assert states(generate("b.mp4", *words, "--no-mp4")) == ["already done"]


def test_a_track_of_its_own_begins_where_it_fits(generate, tmp_path: Path) -> None:
    rate = 22050
    beats = np.sin(400 * np.arange(30 * rate) / rate) * np.exp(-20 * (np.arange(30 * rate) / rate % 0.5))
    for name, seconds in (("all.wav", 30), ("own.wav", 8)):
        save_wav(tmp_path / name, beats[None, : seconds * rate].astype(np.float32), rate)
    Path("table.csv").write_text("video,music\na.mp4,own.wav\nb.mp4,\nb.mp4,all.wav\n")
    # 20 s is beyond the end of the line's own track.
    told = generate("a.mp4", "b.mp4", "--manifest", "table.csv", "--music", "all.wav", "--music-start", 20, "--no-mp4")
    assert states(told) == ["done"] * 3
    assert [record(stem)["settings"]["music_start"] for stem in ("a", "b_1", "b_2")] == [None, 20.0, None]
    assert states(generate("a.mp4", "--music", "own.wav", "--no-mp4")) == ["already done"]
    asked = ("--music", "all.wav", "--no-mp4", "--name")
    assert states(generate("b.mp4", *asked, "{stem}_1", "--music-start", "20")) == ["already done"]
    assert states(generate("b.mp4", *asked, "{stem}_2")) == ["already done"]


def test_a_listener_without_words_is_refused_at_once(generate, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="--clap listens for a sound example or for words"):
        generate("a.mp4", "--clap", tmp_path)


def test_dry_runs_shares_and_failures_know_pieces(generate) -> None:
    told = generate("a.mp4", "b.mp4", "--variations", "3", "--name", "{stem}-{seed}", "--dry-run")
    assert states(told) == ["planned"] * 6
    names = [Path(item["artefacts"][".wav"]).name for item in told["items"]]
    assert names == [f"{stem}-{seed}.wav" for stem in "ab" for seed in range(3)]
    assert not Path("out").exists()
    shares = [
        generate("a.mp4", "b.mp4", "--variations", "3", "--dry-run", "--shard", f"{number}/2")["items"]
        for number in (1, 2)
    ]
    assert sorted(len({item["input"] for item in share}) * 3 for share in shares) == sorted(map(len, shares))
    assert sum(map(len, shares)) == 6
    Path("b.mp4").write_bytes(b"broken")
    told = generate("a.mp4", "b.mp4", "--variations", "2", "--no-mp4")
    assert states(told) == ["done", "done", "failed", "failed"]
    told = generate("a.mp4", "b.mp4", "--variations", "2", "--no-mp4")
    assert [item["failed_before"] for item in told["items"]] == [False, False, True, True]
    status = CliRunner().invoke(d2m_cli.app.app, ["status", "out", "--json"])
    assert status.exit_code in (0, 1)
    one = json.loads(status.stdout)["commands"][0]
    assert (one["done"], one["failed"]) == (2, 2)
