"""Damaged image files: cut, overwritten, with pieces lost, doubled or from other files.

Mutant ``n`` is always the same: ``mutant(n)`` gives its name and its bytes.
"""

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
    turned: dict[str, object] = {"exif": exif}
    profile: dict[str, object] = {
        "icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    }
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
        data = chance.choice((_flip, _overwrite, _overwrite, _move))(data, chance)
        data = data[: chance.randrange(1, len(data) + 1)] if chance.random() < 0.1 else data
    if data.startswith(PNG) and chance.random() < 0.6:
        data = _with_check_sums(data)  # or the decoders after them would hardly be reached
    return name, data


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        end = chance.choice((len(changed), min(64, len(changed))))  # decoders trust the start most
        changed[chance.randrange(end)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, chance: random.Random) -> bytes:
    """Overwrite or insert bytes, often an extreme where a length, a count or an offset may be."""
    if chance.random() < 0.5:
        filling = struct.pack(chance.choice("<>") + "I", chance.choice(EXTREMES))
        filling = filling[chance.choice((0, 2)) :]
    else:
        length = chance.choice((1, 2, 4, 16, 64))
        filling = chance.choice((bytes(length), b"\xff" * length, chance.randbytes(length)))
    border = chance.choice(_borders(data)) + chance.choice((-4, 0, 0, 2, 4, 8))
    at = max(0, chance.choice((chance.randrange(len(data)), border)))
    return data[:at] + filling + data[at + chance.choice((0, len(filling), len(filling))) :]


def _move(data: bytes, chance: random.Random) -> bytes:
    """Delete, double or move a piece, or replace it by one of another file."""
    donor = chance.choice((b"", data, chance.choice(originals())[1]))
    start, end = sorted(chance.choices(_borders(donor), k=2))
    at = chance.choice(_borders(data))
    until = chance.choice([at, *(border for border in _borders(data) if border > at)])
    return data[:at] + donor[start:end] + data[until:] or b"\0"


def _borders(data: bytes) -> list[int]:
    """Return where pieces may begin or end: before names of chunks and every 64 bytes."""
    chunks = [match.start() for match in re.finditer(rb"[A-Za-z]{4}", data[4:])]
    return sorted({*range(0, len(data), 64), *chunks, len(data)})


def _with_check_sums(data: bytes) -> bytes:
    fixed, at = bytearray(data), len(PNG)
    while (end := at + 8 + int.from_bytes(fixed[at : at + 4], "big")) + 4 <= len(fixed):
        fixed[end : end + 4] = struct.pack(">I", zlib.crc32(fixed[at + 4 : end]))
        at = end + 4
    return bytes(fixed)
