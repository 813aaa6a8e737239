from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from d2m_cli.backbones.spectrogram import (
    SpectrogramConfig,
    _mel_filters,
    audio_from_picture,
    fold,
    mel_amplitude,
    picture_from_audio,
    position_channels,
    unfold,
)

SHARED = Path(os.environ.get("D2M_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "riffusion"
MUSIC = Path(__file__).parents[2] / "examples" / "music" / "lock_112.ogg"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="Riffusion's own pictures are not at hand")
SMALL = SpectrogramConfig(
    sample_rate=24000, hop_length=240, win_length=1200, n_fft=2048, n_mels=128, max_frequency=12000.0,
    max_value=180.0, sample_scale=1.0, channels=512, patch=(64, 8),
)  # fmt: skip


def riffusion_clip() -> tuple[np.ndarray, torch.Tensor, float]:
    import soundfile
    from PIL import Image

    picture = Image.open(SHARED / "clip_2.png")
    samples, _ = soundfile.read(SHARED / "clip_2.wav", always_2d=True, dtype="float32")
    grey = np.asarray(picture)[..., 0] / 255.0
    return grey, torch.from_numpy(samples[None, :, 0].copy()), picture.getexif()[11080]


@pytest.mark.parametrize("config", [SMALL, SpectrogramConfig(), replace(SMALL, min_frequency=30.0, n_mels=96)])
def test_mel_filters_are_librosas(config: SpectrogramConfig) -> None:
    import librosa

    wanted = librosa.filters.mel(
        sr=config.sample_rate, n_fft=config.n_fft, n_mels=config.n_mels,
        fmin=config.min_frequency, fmax=config.max_frequency, htk=True, norm=None,
    )  # fmt: skip
    np.testing.assert_array_equal(_mel_filters(config).numpy(), wanted)


@needs_shared
def test_drawing_agrees_with_riffusions_own_picture() -> None:
    theirs, samples, maximum = riffusion_clip()
    ours = picture_from_audio(samples, SpectrogramConfig(), maximum)[0].numpy()
    assert ours.shape == theirs.shape == (512, 568)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] >= 0.999
    # Eight bits round by half a step, and a little more at the edges.
    assert np.abs(ours - theirs).mean() < 1 / 255


@pytest.mark.slow
@needs_shared
def test_sounding_riffusions_picture_gives_the_channel_back() -> None:
    picture, samples, maximum = riffusion_clip()
    config = SpectrogramConfig()
    sounded = audio_from_picture(torch.from_numpy(picture).float()[None], config, maximum)
    columns = 566

    def log_mel(audio: torch.Tensor) -> np.ndarray:
        return np.log(mel_amplitude(audio, config)[0, :, :columns].numpy() + 1e3)

    assert np.corrcoef(log_mel(sounded).ravel(), log_mel(samples).ravel())[0, 1] >= 0.97


def test_a_sine_lights_the_mel_band_of_its_frequency() -> None:
    time = torch.arange(24000) / 24000
    picture = picture_from_audio(torch.sin(2 * torch.pi * 1000 * time)[None], SMALL)[0]
    band = int(picture[:, 50].flip(0).argmin())
    # HTK: mel = 2595 log10(1 + f / 700); 128 bands share the range of 0 to 12 kHz evenly, edges included.
    top = 2595 * np.log10(1 + 12000 / 700)
    expected = 2595 * np.log10(1 + 1000 / 700) / top * 129 - 1
    assert abs(band - expected) <= 1


def test_picture_to_audio_and_back_keeps_the_picture() -> None:
    rng = np.random.default_rng(0)
    time = np.arange(5 * 24000) / 24000
    tones = sum(np.sin(2 * np.pi * f * time) for f in (220, 330, 550)) * 0.1
    clicks = np.zeros_like(time)
    clicks[::12000] = 0.8
    samples = torch.from_numpy((tones + clicks + rng.normal(0, 1e-3, len(time))).astype(np.float32))[None]
    picture = picture_from_audio(samples, SMALL)[..., :496]
    again = picture_from_audio(audio_from_picture(picture, SMALL), SMALL)[..., :496]
    assert np.corrcoef(picture.numpy().ravel(), again.numpy().ravel())[0, 1] > 0.95


def test_a_picture_sounds_as_well_as_by_librosas_rounds_from_random_phases() -> None:
    """Which are a third more, of the whole transform, whose size is that of the picture."""
    import librosa
    import soundfile

    samples, _ = soundfile.read(MUSIC, dtype="float32", frames=3 * SMALL.sample_rate)
    picture = picture_from_audio(torch.from_numpy(samples)[None], SMALL)
    magnitude = (torch.linalg.pinv(_mel_filters(SMALL)) @ ((1 - picture.flip(-2)) ** 4 * 180.0)).clamp(min=0.0)
    by_librosa = librosa.griffinlim(
        magnitude[0].numpy(), n_iter=32, hop_length=240, win_length=1200, n_fft=2048, momentum=0.99, random_state=0
    )
    theirs = torch.from_numpy(by_librosa)[None]

    def away(sound: torch.Tensor) -> float:
        return float((picture_from_audio(sound, SMALL)[..., :300] - picture[..., :300]).abs().mean())

    assert away(audio_from_picture(picture, SMALL)) < 1.06 * away(theirs) < 0.012


def test_each_row_of_a_batch_sounds_as_it_does_alone() -> None:
    pictures = torch.rand(3, 128, 40, generator=torch.Generator().manual_seed(1))
    pictures[2] = pictures[0]
    together = audio_from_picture(pictures, SMALL, seeds=[4, 5, 6])
    assert together.shape == (3, 9600)
    for row, seed in enumerate((4, 5, 6)):
        alone = audio_from_picture(pictures[row, None], SMALL, seeds=[seed])[0]
        assert together[row].numpy().tobytes() == alone.numpy().tobytes()
    # The same picture from another phase is another sound.
    assert not torch.allclose(together[0], together[2], atol=1e-3)
    with pytest.raises(ValueError, match="3 pictures need as many seeds, not 2"):
        audio_from_picture(pictures, SMALL, seeds=[4, 5])


@pytest.mark.parametrize("sizes", [(240, 1200, 2047), (1200, 1200, 2048), (240, 2049, 2048), (0, 1200, 2048)])
def test_sizes_that_leave_gaps_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="rise, not"):
        SpectrogramConfig(hop_length=sizes[0], win_length=sizes[1], n_fft=sizes[2])


def test_fold_and_unfold_are_inverse_and_place_pixels_where_expected() -> None:
    picture = torch.rand(2, 128, 64)
    folded = fold(picture, SMALL)
    assert folded.shape == (2, 512, 2, 8)
    assert folded[0, 3 * 8 + 5, 1, 2] == pytest.approx(picture[0, 64 + 3, 2 * 8 + 5].item() * 2 - 1)
    assert torch.allclose(unfold(folded, SMALL), picture, atol=1e-6)
    grey = fold(picture, SpectrogramConfig())
    assert grey.shape == (2, 3, 128, 64)
    assert torch.allclose(unfold(grey, SpectrogramConfig()), picture, atol=1e-6)


def test_positions_are_sinusoids_of_the_columns_middle() -> None:
    config = SpectrogramConfig(position_frequencies=(2.0,))
    channels = position_channels(2, 64, 5.12, config)
    assert channels.shape == (4, 2, 64)
    assert channels[2, 1, 10].item() == pytest.approx(np.cos(2 * np.pi * 2.0 * 10.5 * 0.08), abs=1e-5)
    assert position_channels(2, 64, 5.12, SpectrogramConfig()).shape == (0, 2, 64)


def test_configuration_survives_its_file(tmp_path: Path) -> None:
    SMALL.save(tmp_path / "spectrogram.json")
    assert SpectrogramConfig.load(tmp_path / "spectrogram.json") == SMALL
    assert SMALL.window_seconds == pytest.approx(5.12)
    assert SpectrogramConfig().window_seconds == pytest.approx(5.12)
