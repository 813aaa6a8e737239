"""Play arrangements with FluidSynth and store their spectrogram pictures.

Needs Debian's ``libfluidsynth3`` and ``fluid-soundfont-gm`` (MIT) and PyPI's ``pyfluidsynth``.
"""

from __future__ import annotations

import numpy as np
from arrange import Arrangement

SOUNDFONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
LEVELS = {0: 118, 1: 96, 2: 72, 9: 112}
"""Channel volumes (MIDI controller 7) of lead, bass, comp and drums: the lead stands out, the drums are clear."""


class Player:
    """A FluidSynth that plays one arrangement after another."""

    def __init__(self, sample_rate: int = 24000, soundfont: str = SOUNDFONT) -> None:
        import fluidsynth

        self.rate = sample_rate
        self.synth = fluidsynth.Synth(samplerate=float(sample_rate), gain=0.5)
        self.font = self.synth.sfload(soundfont)

    def play(self, piece: Arrangement, channels: tuple[int, ...] = (0, 1, 2, 9)) -> np.ndarray:
        """Mono (n,) float32 at -18 dBFS RMS, peaks soft-limited under 1."""
        synth = self.synth
        synth.system_reset()
        for channel in range(16):
            synth.program_select(channel, self.font, 128 if channel == 9 else 0, piece.programs.get(channel, 0))
            synth.cc(channel, 7, LEVELS.get(channel, 90))
            synth.cc(channel, 91, 20)
            synth.cc(channel, 93, 0)
        events = []
        for note in piece.notes:
            if note.channel in channels:
                events.append((note.start, 1, note))
                events.append((note.start + note.length, 0, note))
        events.sort(key=lambda event: (event[0], event[1]))
        out, done = [], 0
        for time, on, note in events:
            position = int(time * self.rate)
            if position > done:
                out.append(synth.get_samples(position - done))
                done = position
            if on:
                synth.noteon(note.channel, note.pitch, note.velocity)
            else:
                synth.noteoff(note.channel, note.pitch)
        total = int(piece.seconds * self.rate)
        if total > done:
            out.append(synth.get_samples(total - done))
        stereo = np.concatenate(out).reshape(-1, 2)[:total].astype(np.float32) / 32768
        mono = stereo.mean(1)
        mono = mono - mono.mean()
        mono *= 10 ** (-18 / 20) / max(1e-4, float(np.sqrt(np.mean(mono**2))))
        return np.tanh(mono * 1.2) / 1.2
