"""Damaged pictures: cut, overwritten, with pieces lost, doubled or from other files.

Mutant ``n`` is the same every time: ``mutant(n)`` gives its name and its bytes.
"""

from __future__ import annotations

import os
import random
import re
import struct
import tempfile
import zlib
from collections import Counter
from itertools import pairwise
from pathlib import Path

from nst_exp.images import load_image
from nst_exp.utils.errors import ConfigError
from tests.faults.outcome import Outcome, part
from tests.faults.picture_files import PNG_START
from tests.faults.seeds import seeds
from tests.faults.trials import in_children

FULL = 100_000
KEY = "content"
MEGAPIXELS = 1.0  # what a damaged header may make up; a larger bound only takes longer
# MB that one mutant may add to the peak of memory. A picture of 1 megapixel is decoded, converted
# and composited with up to 4 bytes per pixel each time; decoders keep about as much to themselves.
MOST_MEGABYTES = 64.0
_MEMORY = "/dev/shm"  # files that are written anew a thousand times a second
EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def torture(share: float, folder: Path) -> Outcome:
    """Full number: 100,000 mutants."""
    outcome = Outcome(
        f"damaged pictures: mutants of {len(seeds())} files",
        "a picture, or one line with key and path",
    )
    with tempfile.TemporaryDirectory(
        dir=_MEMORY if os.access(_MEMORY, os.W_OK) else folder
    ) as fast:
        _torture(outcome, part(FULL, share), folder, Path(fast))
    return outcome


def _torture(outcome: Outcome, count: int, folder: Path, fast: Path) -> None:
    paths = {Path(name).suffix: fast / f"mutant{Path(name).suffix}" for name, _ in seeds()}
    ends: Counter[str] = Counter()
    slowest, largest = (0.0, 0), (0.0, 0)
    for ending in in_children(lambda number: _load(number, paths), range(count), folder):
        broken = ending.lost or (ending.result if ending.result not in _KEPT else "")
        if not broken and ending.said:
            broken = f"printed {ending.said!r}"
        if not broken and ending.megabytes > MOST_MEGABYTES:
            broken = f"took {ending.megabytes:.0f} MB"
        ends[ending.result] += 1
        outcome.expect(not broken, f"mutant {ending.number} ({_seed(ending.number)}): {broken}")
        slowest = max(slowest, (ending.seconds, ending.number))
        largest = max(largest, (ending.megabytes, ending.number))
    outcome.notes += [
        f"{ends['decoded']:,} decoded, {ends['refused']:,} refused",
        f"slowest {slowest[0]:.2f} s (mutant {slowest[1]})",
        f"most memory {largest[0]:.0f} MB (mutant {largest[1]})",
    ]


_KEPT = ("decoded", "refused")


def _load(number: int, paths: dict[str, Path]) -> str:
    """One of _KEPT, or what is wrong."""
    name, data = mutant(number)
    path = paths[Path(name).suffix]
    path.write_bytes(data)
    try:
        loaded = load_image(path, key=KEY, max_megapixels=MEGAPIXELS)
    except ConfigError as error:
        line = str(error)
        right = line.startswith(f"{KEY}={path}: ") and line.isprintable() and "; " in line
        return "refused" if right else f"a poor refusal: {line!r}"
    picture = loaded.image
    if picture.mode != "RGB" or not 0 < picture.width * picture.height <= MEGAPIXELS * 1e6:
        return f"a picture of mode {picture.mode}, {picture.size}"
    picture.tobytes()  # its pixels are there
    if any(not w.startswith(f"{KEY}={path}: ") or not w.isprintable() for w in loaded.warnings):
        return f"poor warnings: {loaded.warnings}"
    return "decoded"


def _seed(number: int) -> str:
    return seeds()[number % len(seeds())][0]


def mutant(number: int) -> tuple[str, bytes]:
    """The name of the sound file that it was made of, and its bytes."""
    chance = random.Random(number)
    name, data = seeds()[number % len(seeds())]
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        data = chance.choice(_CHANGES)(data, chance)
    if data.startswith(PNG_START) and chance.random() < 0.6:
        data = _with_check_sums(data)  # or the decoder behind them would hardly be reached
    return name, data


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(1, len(data) + 1)]


def _bits(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _start(data: bytes, chance: random.Random) -> bytes:
    """A byte where decoders trust most."""
    changed = bytearray(data)
    changed[chance.randrange(min(64, len(changed)))] = chance.randrange(256)
    return bytes(changed)


def _run(data: bytes, chance: random.Random) -> bytes:
    at, length = chance.randrange(len(data)), chance.choice((1, 2, 4, 16, 64))
    kind = chance.randrange(4)
    some = (bytes(length), b"\xff" * length, chance.randbytes(length))
    if kind == 3:  # inserted
        return data[:at] + some[2] + data[at:]
    return data[:at] + some[kind] + data[at + length :]


def _number(data: bytes, chance: random.Random) -> bytes:
    """An extreme where a length, a count or an offset may stand."""
    size, order = chance.choice((2, 4)), chance.choice("<>")
    limit = (1 << 8 * size) - 1
    value = chance.choice([value for value in EXTREMES if value <= limit])
    anywhere = chance.random() < 0.5
    at = chance.randrange(len(data)) if anywhere else chance.choice(_borders(data))
    at = max(0, at + chance.choice((-4, -2, 0, 0, 0, 2, 4, 8)))
    field = struct.pack(order + ("H" if size == 2 else "I"), value)
    return data[:at] + field + data[at + size :]


def _pieces(data: bytes, chance: random.Random) -> bytes:
    """Pieces deleted, doubled, swapped, or taken from another file."""
    parts = _split(data)
    at, other = chance.randrange(len(parts)), chance.randrange(len(parts))
    match chance.randrange(4):
        case 0:
            del parts[at]
        case 1:
            parts.insert(other, parts[at])
        case 2:
            parts[at], parts[other] = parts[other], parts[at]
        case 3:
            strangers = _split(chance.choice(seeds())[1])
            parts[at] = chance.choice(strangers)
    return b"".join(parts) or b"\0"


_CHANGES = (_cut, _bits, _bits, _start, _run, _run, _number, _number, _pieces, _pieces)


def _split(data: bytes) -> list[bytes]:
    borders = [0, *_borders(data), len(data)]
    return [data[a:b] for a, b in pairwise(borders)]


_JPEG_MARKER = re.compile(rb"\xff[\xc0-\xfe]")
_NAME = re.compile(rb"[A-Za-z]{4}")  # of a chunk or box; its length stands before or behind it


def _borders(data: bytes) -> list[int]:
    """Where pieces may begin, in order: chunks, segments, boxes, or every 16 bytes."""
    found: list[int] = []
    if data.startswith(PNG_START):
        found = [match.start() - 4 for match in _NAME.finditer(data)]
    elif data.startswith(b"\xff\xd8"):
        found = [match.start() for match in _JPEG_MARKER.finditer(data)]
    elif data.startswith(b"RIFF"):
        found = [match.start() for match in _NAME.finditer(data)]
    elif data[4:8] in (b"ftyp", b"jP  "):
        found = [match.start() - 4 for match in _NAME.finditer(data)]
    return [at for at in found if at > 0] or list(range(0, len(data), 16))


def _with_check_sums(data: bytes) -> bytes:
    fixed, at = bytearray(data), len(PNG_START)
    while at + 12 <= len(fixed):
        length = int.from_bytes(fixed[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = struct.pack(">I", zlib.crc32(fixed[at + 4 : end]))
        at = end + 4
    return bytes(fixed)
