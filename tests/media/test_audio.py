from __future__ import annotations

import struct
import subprocess
import sys
import tracemalloc
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from d2m_cli.errors import AudioError, OutputError
from d2m_cli.ground.strip import Strip
from d2m_cli.media.audio import fit_length, load_audio, resample, save_wav


def tone(frequency: float, seconds: float, rate: int) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)[None]


def test_wav_holds_rounded_steps_and_the_exact_number_of_samples(tmp_path: Path) -> None:
    # One step of 16 bits is 1 / 32768: by hand 0.6 steps round to 1, 0.4 to 0, full scale is held at 32767.
    samples = np.array([[0.6, 0.4, -0.6, 32768.0, -32768.0, 16384.0, 100.0]], dtype=np.float32) / 32768
    save_wav(tmp_path / "a.wav", samples, 22050)  # type: ignore[arg-type]
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth(), file.getnframes()) == (22050, 1, 2, 7)
        assert struct.unpack("<7h", file.readframes(7)) == (1, 0, -1, 32767, -32768, 16384, 100)


def test_wav_of_24_bits_in_stereo(tmp_path: Path) -> None:
    save_wav(tmp_path / "a.wav", np.array([[0.5, 0.0], [-0.5, 1 / 8388608]], dtype=np.float32), 48000, bits=24)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getnframes()) == (2, 3, 2)
        raw = file.readframes(2)
    values = [int.from_bytes(raw[i : i + 3], "little", signed=True) for i in range(0, 12, 3)]
    assert values == [4194304, -4194304, 0, 1]


def test_wav_comes_back_as_it_was(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-1, 0.99, (2, 1000)).astype(np.float32)
    save_wav(tmp_path / "a.wav", samples, 44100)
    back, rate = load_audio(tmp_path / "a.wav")
    assert rate == 44100
    assert back.shape == (2, 1000)
    np.testing.assert_allclose(back, samples, atol=0.5 / 32768 + 1e-7)


def test_mono_and_rate(tmp_path: Path) -> None:
    stereo = np.concatenate([tone(440, 1, 44100), tone(440, 1, 44100) * 0.5])
    save_wav(tmp_path / "a.wav", stereo, 44100)
    mono, rate = load_audio(tmp_path / "a.wav", sample_rate=22050, mono=True)
    assert (mono.shape, rate) == ((1, 22050), 22050)
    expected = tone(440, 1, 22050) * 0.75
    np.testing.assert_allclose(mono[:, 500:-500], expected[:, 500:-500], atol=2e-3)


def test_resample_keeps_tones_below_and_removes_those_above_the_new_limit() -> None:
    low, high = tone(1000, 1, 44100), tone(15000, 1, 44100)
    assert np.std(resample(low, 44100, 16000)[:, 1000:-1000]) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)
    assert np.std(resample(high, 44100, 16000)[:, 1000:-1000]) < 0.005


def test_sound_of_a_video_is_read_where_it_lies(make_video, tmp_path: Path) -> None:
    sound = np.zeros(44100, np.float32)
    sound[[5000, 30000]] = 0.9
    make_video(tmp_path / "a.mp4", seconds=1, sound=sound)
    loaded, rate = load_audio(tmp_path / "a.mp4")
    assert rate == 44100
    assert abs(int(np.argmax(np.abs(loaded[0, :15000]))) - 5000) <= 2
    assert abs(int(np.argmax(np.abs(loaded[0, 20000:40000]))) + 20000 - 30000) <= 2


@pytest.mark.parametrize("content", [b"", b"not sound at all" * 100, bytes(range(256)) * 40])
def test_what_is_no_sound_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd name ☃.mp3"
    path.write_bytes(content)
    with pytest.raises(AudioError, match="odd name ☃"):
        load_audio(path)


def test_a_video_without_sound_and_a_missing_file_are_named(make_video, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"silent\.mp4: holds no sound"):
        load_audio(make_video(tmp_path / "silent.mp4", seconds=0.4))
    with pytest.raises(AudioError, match=r"none\.wav: no such file"):
        load_audio(tmp_path / "none.wav")


def test_a_wav_without_samples_is_named(tmp_path: Path) -> None:
    save_wav(tmp_path / "a.wav", np.zeros((1, 0), np.float32), 44100)
    with pytest.raises(AudioError, match="no samples"):
        load_audio(tmp_path / "a.wav")


def test_fit_length() -> None:
    samples = np.ones((2, 5), np.float32)
    assert fit_length(samples, 3).shape == (2, 3)
    assert fit_length(samples, 7).sum() == 10
    assert fit_length(samples, 7).shape == (2, 7)


def test_a_full_disk_leaves_no_file_and_says_so(tmp_path: Path) -> None:
    script = (
        "import resource, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from d2m_cli.errors import OutputError\n"
        "from d2m_cli.media.audio import save_wav\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))\n"
        "try:\n"
        "    save_wav(Path(sys.argv[1]), np.zeros((1, 44100), np.float32), 44100)\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    target = tmp_path / "a.wav"
    done = subprocess.run([sys.executable, "-c", script, str(target)], capture_output=True, text=True, check=True)
    assert str(target) in done.stdout
    assert "largest size" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(OutputError, match="a folder stands"):
        save_wav(tmp_path / "a.wav", np.zeros((1, 10), np.float32), 44100)


def test_a_header_that_claims_too_much_asks_for_no_memory(tmp_path: Path) -> None:
    """The count of samples in a FLAC header has 36 bits; here they are all ones."""
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(8000, np.float32), 8000)
    content = bytearray(path.read_bytes())
    content[21] |= 0x0F
    content[22:26] = b"\xff" * 4
    path.write_bytes(content)
    assert soundfile.info(str(path)).frames > 1 << 35
    samples, rate = load_audio(path)
    assert (rate, samples.shape) == (8000, (1, 8000))


@pytest.mark.parametrize(
    ("rate", "new_rate"),
    [(44100, 48000), (48000, 44100), (8000, 44100), (44100, 22050), (24000, 24001), (24001, 24000), (32000, 5)],
)
@pytest.mark.parametrize("count", [1, 5000, 100_000, 123_457])
def test_resampled_in_blocks_it_is_what_the_whole_becomes(
    monkeypatch: pytest.MonkeyPatch, rate: int, new_rate: int, count: int
) -> None:
    monkeypatch.setattr("d2m_cli.media.audio.CONVERTED", 10_000)
    sound = np.random.default_rng(0).normal(0.0, 0.3, (2, count)).astype(np.float32)
    wanted = fit_length(resample_poly(sound.astype(np.float64), new_rate, rate, axis=1), round(count * new_rate / rate))
    found = resample(sound, rate, new_rate)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-7)
    np.testing.assert_array_equal(found, wanted.astype(np.float32))
    strip = Strip(2)
    strip.lay(0, sound)
    np.testing.assert_array_equal(resample(strip, rate, new_rate), found)


def test_long_sound_is_resampled_in_little_room() -> None:
    sound = np.zeros((1, 8000 * 1200), np.float32)
    tracemalloc.start()
    resample(sound, 8000, 16000)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The result takes 77 MB; as a whole it would be made of 77 and 154 MB besides.
    assert most < 95_000_000
