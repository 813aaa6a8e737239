"""MPEG program streams (ISO/IEC 13818-1, 2.5) with one picture or sound frame a packet, as camcorders write them.

FFmpeg's own muxer fills packets of 2 KB with as many pictures as fit and stamps only the first.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

_VIDEO, _SOUND = 0xE0, 0xC0
_CLOCK = 90_000
_AHEAD = _CLOCK // 5
_WRAP = 1 << 33
_MUX_RATE = 10_080_000 // 400


def write_program_stream(path: Path, packets: Iterable[Any]) -> Path:
    """Write packets of MPEG-2 video and MP2 sound, sorted by decoding time."""
    parts = []
    for packet in packets:
        shown, decoded = (round(stamp * packet.time_base * _CLOCK) + _AHEAD for stamp in (packet.pts, packet.dts))
        identifier = _VIDEO if packet.stream.type == "video" else _SOUND
        parts += [_pack_header(decoded - _AHEAD), _packet(identifier, shown, decoded, bytes(packet))]
    path.write_bytes(b"".join(parts) + b"\0\0\1\xb9")
    return path


def _pack_header(clock: int) -> bytes:
    clock %= _WRAP
    bits = 0b01 << 46 | (clock >> 30) << 43 | 1 << 42 | (clock >> 15 & 0x7FFF) << 27 | 1 << 26
    bits |= (clock & 0x7FFF) << 11 | 1 << 10 | 1
    return b"\0\0\1\xba" + bits.to_bytes(6, "big") + (_MUX_RATE << 2 | 3).to_bytes(3, "big") + b"\xf8"


def _packet(identifier: int, shown: int, decoded: int, payload: bytes) -> bytes:
    both = shown != decoded
    stamps = _stamp(0b0011 if both else 0b0010, shown) + (_stamp(0b0001, decoded) if both else b"")
    # The 4 says that a picture begins with the packet.
    header = bytes([0x84, 0xC0 if both else 0x80, len(stamps)]) + stamps
    return b"\0\0\1" + bytes([identifier]) + (len(header) + len(payload)).to_bytes(2, "big") + header + payload


def _stamp(mark: int, ticks: int) -> bytes:
    ticks %= _WRAP
    high, middle, low = ticks >> 30, ticks >> 15 & 0x7FFF, ticks & 0x7FFF
    return (mark << 36 | high << 33 | 1 << 32 | middle << 17 | 1 << 16 | low << 1 | 1).to_bytes(5, "big")
