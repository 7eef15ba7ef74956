"""Damaged image files: cut, overwritten, with pieces lost, doubled or from other files.

Mutant ``n`` is always the same: ``mutant(n)`` gives its name and its bytes.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import random
import re
import signal
import struct
import zlib
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from nst_exp.images import load_image
from nst_exp.utils.errors import ConfigError
from tests.faults.outcome import Outcome, part

FULL, BATCH = 20_000, 1000
SECONDS = 5  # that a mutant may take
MEGAPIXELS = 1.0  # what a damaged header may claim; a larger bound only takes longer
PNG = b"\x89PNG\r\n\x1a\n"
EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@cache
def originals() -> list[tuple[str, bytes]]:
    """Return small valid files of every kind, as names with their suffix, and bytes."""
    values = np.random.default_rng(0).integers(0, 256, (10, 12, 4), dtype=np.uint8)
    rgba, rgb = Image.fromarray(values), Image.fromarray(values[..., :3])
    gray, cmyk = rgb.convert("L"), Image.frombytes("CMYK", (12, 10), values.tobytes())
    deep = Image.fromarray(values[..., 0].astype(np.uint16) * 257)
    palette, bits = rgb.quantize(8), gray.convert("1")
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "described"
    turned = {"exif": exif}
    profile = {"icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()}
    several = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    files: dict[str, tuple[Image.Image, dict[str, object]]] = {
        "gray.png": (gray, {}),
        "rgba.png": (rgba, profile | turned),
        "palette.png": (palette, {"transparency": b"\0\x80\xff"}),
        "deep.png": (deep, {}),
        "animated.png": (rgb, several),
        "baseline.jpg": (rgb, turned),
        "progressive.jpg": (rgb, {"progressive": True, **profile}),
        "cmyk.jpg": (cmyk, {}),
        "lossy.webp": (rgb, turned),
        "lossless.webp": (rgba, {"lossless": True, **profile}),
        "animated.webp": (rgb, several),
        "lzw.tif": (cmyk, {"compression": "tiff_lzw"}),
        "deflate.tif": (rgba, {"compression": "tiff_adobe_deflate", **profile}),
        "pages.tif": (rgb, {"compression": "packbits", **several}),
        "deep.tif": (deep, {}),
        "jpeg.tif": (rgb, {"compression": "jpeg"}),
        "fax.tif": (bits, {"compression": "group4"}),
        "animated.gif": (rgb, several),
        "clear.gif": (palette, {"transparency": 1}),
        "rgb.bmp": (rgb, {}),
        "x.avif": (rgb, {"speed": 10}),
        "x.jp2": (rgb, {}),
        "x.ico": (rgba.resize((16, 16)), {}),
        "x.ppm": (rgb, {}),
        "x.tga": (palette, {"compression": "tga_rle"}),
    }
    found = []
    for name, (image, options) in files.items():
        stream = io.BytesIO()
        image.save(stream, Image.registered_extensions()[Path(name).suffix], **options)
        found.append((name, stream.getvalue()))
    return found


def inject(scale: float, folder: Path) -> Outcome:
    """Load every mutant in forked processes, so that a crash and a hang are seen."""
    Image.init()
    outcome = Outcome(
        f"damaged images: mutants of {len(originals())} files",
        "an image, or one message with key and path",
    )
    ends: Counter[str] = Counter()
    verdicts, count = folder / "verdicts", part(FULL, scale)
    while outcome.tried < count:
        numbers = range(outcome.tried, min(outcome.tried + BATCH, count))
        fork = multiprocessing.get_context("fork")
        process = fork.Process(target=_batch, args=(numbers, folder, verdicts))
        process.start()
        process.join()
        lines = verdicts.read_text(encoding="utf-8").splitlines()
        if len(lines) < len(numbers):
            lines.append(f"the process ended with {process.exitcode}")
        for number, verdict in zip(numbers, lines, strict=False):
            ends[verdict] += 1
            right = verdict in ("decoded", "refused")
            outcome.expect(f"mutant {number} ({mutant(number)[0]})", [] if right else [verdict])
    outcome.notes.append(f"{ends['decoded']:,} decoded, {ends['refused']:,} refused")
    return outcome


def _batch(numbers: range, folder: Path, verdicts: Path) -> None:
    """Write one line for each mutant; whatever else is printed is a failure."""
    screen, printed = os.open(folder / "screen", os.O_RDWR | os.O_CREAT | os.O_TRUNC), 0
    for descriptor in (1, 2):
        os.dup2(screen, descriptor)
    with verdicts.open("w", encoding="utf-8", buffering=1) as stream:
        for number in numbers:
            signal.alarm(SECONDS)  # ends the process
            verdict = judge(number, folder)
            if os.fstat(screen).st_size > printed and not mutant(number)[0].endswith(".tif"):
                verdict = f"printed {os.pread(screen, 200, printed)!r}"
            printed = os.fstat(screen).st_size  # libtiff's own lines among it
            stream.write(" ".join(verdict.split()) + "\n")


def judge(number: int, folder: Path) -> str:
    """Return "decoded", "refused", or what is wrong."""
    name, data = mutant(number)
    path = folder / f"mutant{Path(name).suffix}"
    path.write_bytes(data)
    try:
        loaded = load_image(path, key="content", max_megapixels=MEGAPIXELS)
        image = loaded.image
        image.tobytes()
    except ConfigError as error:
        message = str(error)
        good = message.startswith(f"content={path}: ") and message.isprintable() and "; " in message
        return "refused" if good else f"a poor message: {message!r}"
    except Exception as error:
        return f"raised {type(error).__name__}: {error}"
    if image.mode != "RGB" or not 0 < image.width * image.height <= MEGAPIXELS * 1e6:
        return f"an image of mode {image.mode}, {image.size}"
    return "decoded"


def mutant(number: int) -> tuple[str, bytes]:
    """Return the name of the valid file that it was made from, and its bytes."""
    chance = random.Random(number)
    name, data = originals()[number % len(originals())]
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        data = chance.choice((_bits, _bits, _run, _run, _number, _number, _pieces))(data, chance)
        data = data[: chance.randrange(1, len(data) + 1)] if chance.random() < 0.1 else data
    if data.startswith(PNG) and chance.random() < 0.6:
        data = _with_check_sums(data)  # or the decoders after them would hardly be reached
    return name, data


def _bits(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        end = chance.choice((len(changed), min(64, len(changed))))  # decoders trust the start most
        changed[chance.randrange(end)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _run(data: bytes, chance: random.Random) -> bytes:
    at, length = chance.randrange(len(data)), chance.choice((1, 2, 4, 16, 64))
    filling = chance.choice((bytes(length), b"\xff" * length, chance.randbytes(length)))
    return data[:at] + filling + data[at + chance.choice((0, length)) :]


def _number(data: bytes, chance: random.Random) -> bytes:
    """Put an extreme where a length, a count or an offset may be."""
    kind, order = chance.choice("HI"), chance.choice("<>")
    value = chance.choice(EXTREMES) & (0xFFFF if kind == "H" else 0xFFFFFFFF)
    at = chance.choice([chance.randrange(len(data)), chance.choice(_borders(data))])
    at = max(0, at + chance.choice((-4, -2, 0, 0, 2, 4, 8)))
    field = struct.pack(order + kind, value)
    return data[:at] + field + data[at + len(field) :]


def _pieces(data: bytes, chance: random.Random) -> bytes:
    """Delete, double or move pieces, or take one from another file."""
    pieces, strangers = _split(data), _split(chance.choice(originals())[1])
    at, other = chance.randrange(len(pieces)), chance.randrange(len(pieces))
    some = [[], [pieces[at]] * 2, [pieces[other]], [chance.choice(strangers)]]
    pieces[at : at + 1] = chance.choice(some)
    return b"".join(pieces) or b"\0"


def _split(data: bytes) -> list[bytes]:
    return [data[a:b] for a, b in pairwise([0, *_borders(data), len(data)])]


def _borders(data: bytes) -> list[int]:
    """Return where pieces may begin: before the names of chunks and boxes, or every 16 bytes."""
    found = [match.start() - 4 for match in re.finditer(rb"[A-Za-z]{4}", data)]
    return [at for at in found if at > 0] or list(range(0, len(data), 16))


def _with_check_sums(data: bytes) -> bytes:
    fixed, at = bytearray(data), len(PNG)
    while at + 12 <= len(fixed):
        end = at + 8 + int.from_bytes(fixed[at : at + 4], "big")
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = struct.pack(">I", zlib.crc32(fixed[at + 4 : end]))
        at = end + 4
    return bytes(fixed)
