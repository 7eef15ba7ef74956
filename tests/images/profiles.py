"""Color profiles made by hand, and the colors that they mean by the definition of sRGB."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Primaries as XYZ relative to D50, in columns (published with the ICC profiles of these spaces)
SRGB = np.array([[0.4360, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
ADOBE = np.array([[0.6097, 0.2053, 0.1492], [0.3111, 0.6257, 0.0632], [0.0195, 0.0609, 0.7446]])
D50 = (0.9642, 1.0, 0.8249)


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _profile(space: bytes, kind: bytes, connection: bytes, more: Mapping[bytes, bytes]) -> bytes:
    described = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(79)
    tags = {b"desc": described, b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": _xyz(*D50)}
    tags |= more
    body, table = b"", struct.pack(">I", len(tags))
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I", start + len(body)) + bytes(4) + b"\x02\x40\0\0"
    header += kind + space + connection + bytes(12) + b"acsp" + bytes(28) + _fixed(*D50)
    return header.ljust(128, b"\0") + table + body


def _xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(*values)


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def rgb_profile(primaries: Array, gamma: float) -> bytes:
    """Make an RGB profile with these primaries; gamma in steps of 1/256."""
    tags = {}
    for column, letter in enumerate((b"r", b"g", b"b")):
        tags[letter + b"XYZ"] = _xyz(*primaries[:, column])
        tags[letter + b"TRC"] = _curve(gamma)
    return _profile(b"RGB ", b"mntr", b"XYZ ", tags)


def gray_profile(gamma: float) -> bytes:
    """Make a profile for gray; gamma in steps of 1/256."""
    return _profile(b"GRAY", b"mntr", b"XYZ ", {b"kTRC": _curve(gamma)})


def cmyk_profile() -> bytes:
    """Make a profile: no ink is white, cyan alone L* = 128/255 * 100, all other corners black."""
    lab = np.zeros((2, 2, 2, 2, 3), np.uint8)
    lab[..., 1:] = 128
    lab[0, 0, 0, 0, 0], lab[1, 0, 0, 0, 0] = 255, 128
    identity = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table += identity * 4 + lab.tobytes() + identity * 3
    return _profile(b"CMYK", b"prtr", b"Lab ", {b"A2B0": table})


def encoded(linear: Array) -> Array:
    """Encode linear light 0..1 as sRGB levels 0..255, floats (IEC 61966-2-1)."""
    linear = np.clip(linear, 0, 1)
    low, high = 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    levels: Array = 255 * np.where(linear <= 0.0031308, low, high)
    return levels


def as_srgb(pixels: Array, primaries: Array, gamma: float) -> Array:
    """Convert ``pixels`` (H, W, 3), 0..255, of that RGB profile to sRGB, 0..255, floats."""
    linear = (pixels / 255.0) ** gamma
    return encoded(linear @ primaries.T @ np.linalg.inv(SRGB).T)
