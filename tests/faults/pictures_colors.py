"""Picture files whose colors depend on more than their samples.

Transparency, frames, orientation, color profiles and inks: the expected pixels come from formulas.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from tests.faults.labeled import CLEAR, CMYK, DEEP, FRAMES, LOSSY, MANAGED, Labeled, Maker
from tests.faults.picture_files import (
    GRAY,
    GRAY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    Array,
    chunk,
    encoded,
    gray_as_rgb,
    indexed,
    noise,
    png,
    smooth,
    tiff,
)
from tests.faults.profiles import (
    ADOBE,
    P3,
    SRGB,
    as_srgb,
    cmyk_profile,
    gray_profile,
    rgb_profile,
)
from tests.faults.profiles import encoded as srgb_levels


def _over(colors: Array, alpha: Array, behind: tuple[int, int, int] = (255, 255, 255)) -> Array:
    part = alpha[..., None] / 255
    mixed: Array = colors * part + np.array(behind) * (1 - part)
    return mixed


def transparent(put: Maker) -> Iterator[Labeled]:
    rgba = noise(channels=4)
    rgb, alpha = rgba[..., :3], rgba[..., 3]
    seen, on_red = _over(rgb, alpha), _over(rgb, alpha, (255, 0, 0))
    for suffix, kind, options in [
        ("png", "PNG", {}),
        ("tif", "TIFF", {}),
        ("tga", "TGA", {}),
        ("webp", "WEBP", {"lossless": True, "exact": True}),
        ("qoi", "QOI", {}),
        ("dds", "DDS", {}),
        ("jp2", "JPEG2000", {}),
    ]:
        data = encoded(rgba, kind, **options)
        yield put(f"rgba.{suffix}", data, seen, 1, CLEAR)  # 1: the mixture is rounded
        yield put(f"on red.{suffix}", data, on_red, 1, CLEAR, background="red")
    square = noise(16, 16, 4)
    yield put("x.ico", encoded(square, "ICO"), _over(square[..., :3], square[..., 3]), 1, CLEAR)
    yield put("interlaced.png", png(rgba, 8, RGBA, interlaced=True), seen, 1, CLEAR)
    yield put("opaque.png", png(rgba | [0, 0, 0, 255], 8, RGBA), rgb)
    yield put("hidden.png", png(rgba & [255, 255, 255, 0], 8, RGBA), seen * 0 + 255, 0, CLEAR)
    gray = gray_as_rgb(rgba[..., 0])
    data = png(rgba[..., [0, 3]], 8, GRAY_ALPHA)
    yield put("gray.png", data, _over(gray, alpha), 1, CLEAR)
    associated = np.round(rgb * (alpha[..., None] / 255)).astype(np.uint8)
    data = tiff(np.dstack([associated, alpha]), tags={338: [1]})
    # Colors that were multiplied by a small alpha come back coarse, but are as faint again.
    yield put("associated.tif", data, seen, 2, CLEAR)
    indices, colors = noise(channels=1) % 4, noise(1, 4)[:, 0]
    opacity = np.array([0, 85, 255, 255], np.uint8)
    mixed = _over(colors[indices], opacity[indices])
    table = chunk(b"PLTE", colors.tobytes())
    data = png(indices, 2, PALETTE, table, chunk(b"tRNS", opacity.tobytes()))
    yield put("palette.png", data, mixed, 1, CLEAR)
    one = np.where(indices == 2, 0, 255)
    data = encoded(indexed(indices, colors), "GIF", transparency=2)
    yield put("palette.gif", data, _over(colors[indices], one), 0, CLEAR)
    for depth, color in [(1, GRAY), (2, GRAY), (4, GRAY), (8, GRAY), (16, GRAY), (8, RGB)]:
        samples = noise(channels=1 if color == GRAY else 3).astype(np.uint16) % min(2**depth, 4)
        samples[0, 0] = 1
        key = chunk(b"tRNS", np.atleast_1d(samples[0, 0]).astype(">u2").tobytes())
        matches = (samples == 1) if color == GRAY else (samples == 1).all(-1)
        levels = samples * (255 / (2**depth - 1))
        levels = gray_as_rgb(levels) if color == GRAY else levels
        words = (DEEP, CLEAR) if depth == 16 else (CLEAR,)
        data = png(samples, depth, color, key)
        name = f"one of {depth} bits is clear, {color}.png"
        yield put(name, data, _over(np.rint(levels), np.where(matches, 0, 255)), 0, *words)


def moving(put: Maker) -> Iterator[Labeled]:
    stills = [noise(16, 16, seed=seed) for seed in range(3)]
    more = [Image.fromarray(still) for still in stills[1:]]
    for suffix, kind, options in [
        ("png", "PNG", {}),
        ("webp", "WEBP", {"lossless": True}),
        ("tif", "TIFF", {}),
    ]:
        data = encoded(stills[0], kind, save_all=True, append_images=more, **options)
        yield put(f"x.{suffix}", data, stills[0], 0, FRAMES)
    frames = [indexed(noise(16, 16, 1, seed), noise(1, 256)[:, 0]) for seed in range(3)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    yield put("x.gif", data, noise(1, 256)[:, 0][noise(16, 16, 1, 0)], 0, FRAMES)
    soft = [np.roll(smooth(32, 32), turn, 1) for turn in (0, 8, 16)]
    more = [Image.fromarray(np.ascontiguousarray(still)) for still in soft[1:]]
    best = {"quality": 100, "subsampling": "4:4:4", "save_all": True, "append_images": more}
    yield put("x.avif", encoded(soft[0], "AVIF", **best), soft[0], LOSSY, FRAMES)
    best["subsampling"] = 0
    yield put("preview.jpg", encoded(soft[0], "MPO", **best), soft[0], LOSSY)


def _stored(upright: Array, orientation: int) -> Array:
    """The pixels as a camera stores them (EXIF 2.3, tag 274)."""
    across, down = upright[:, ::-1], upright[::-1]
    turned = {2: across, 3: down[:, ::-1], 4: down, 5: upright, 6: across, 7: down[:, ::-1]}
    turned[8] = down
    found = turned.get(orientation, upright)
    return np.ascontiguousarray(found.swapaxes(0, 1) if 5 <= orientation <= 8 else found)


def turned(put: Maker) -> Iterator[Labeled]:
    kinds: list[tuple[str, str, Array, dict[str, Any]]] = [
        ("jpg", "JPEG", smooth(), {"quality": 100, "subsampling": 0}),
        ("png", "PNG", noise(), {}),
        ("webp", "WEBP", noise(), {"lossless": True}),
        ("tif", "TIFF", noise(), {}),
    ]
    for suffix, kind, upright, options in kinds:
        most = LOSSY if kind == "JPEG" else 0
        for orientation in range(10):  # 0 and 9 mean nothing
            exif = Image.Exif()
            exif[0x0112] = orientation
            data = encoded(_stored(upright, orientation), kind, exif=exif, **options)
            yield put(f"{orientation}.{suffix}", data, upright, most)
    for number, block in enumerate([b"garbage", b"II*\0\xff\xff\xff\x7f", b"", b"MM\0*" * 9]):
        for kind in ("JPEG", "WEBP", "PNG"):
            color = np.full((8, 8, 3), 77, np.uint8)
            options = {} if kind == "PNG" else {"quality": 100}
            data = encoded(color, kind, exif=b"Exif\0\0" + block, **options)
            # Pillow passes over garbage in a JPEG by itself.
            words = ["its EXIF data is damaged"] if number == 0 and kind != "JPEG" else []
            yield put(f"broken {number}.{kind.lower()}", data, color, LOSSY, *words)


def managed(put: Maker) -> Iterator[Labeled]:
    rgb = noise()
    for name, primaries, gamma in [
        ("adobe", ADOBE, 2.19921875),
        ("p3", P3, 2.19921875),
        ("linear", SRGB, 1.0),
    ]:
        icc, expected = rgb_profile(primaries, gamma), as_srgb(rgb, primaries, gamma)
        for kind, options in [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})]:
            data = encoded(rgb, kind, icc_profile=icc, **options)
            yield put(f"{name}.{kind.lower()}", data, expected, MANAGED)
    flat = np.full((16, 16, 3), (180, 60, 120), np.uint8)
    data = encoded(flat, "JPEG", quality=100, subsampling=0, icc_profile=rgb_profile(P3, 2.0))
    yield put("p3.jpg", data, as_srgb(flat, P3, 2.0), MANAGED + LOSSY)
    indices = noise(channels=1) % 7
    data = encoded(indexed(indices, rgb[0, :7]), "PNG", icc_profile=rgb_profile(P3, 2.0))
    yield put("palette.png", data, as_srgb(rgb[0, :7][indices], P3, 2.0), MANAGED)
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = gray_as_rgb(srgb_levels(gray / 255))
    for name, icc in [("gray", gray_profile(1.0)), ("gray as rgb", rgb_profile(SRGB, 1.0))]:
        yield put(f"{name}.png", encoded(gray, "PNG", icc_profile=icc), expected, MANAGED)
    for name, icc, word in [
        ("garbage", b"garbage", "cannot be used"),
        ("half", rgb_profile(P3, 2.0)[:200], "cannot be used"),
        ("for gray", gray_profile(1.0), "is for GRAY, not RGB"),
        ("for cmyk", cmyk_profile(), "is for CMYK, not RGB"),
    ]:
        for kind in ("PNG", "TIFF"):
            data = encoded(rgb, kind, icc_profile=icc)
            yield put(f"{name}.{kind.lower()}", data, rgb, 0, word)


def separated(put: Maker) -> Iterator[Labeled]:
    inks = noise(channels=4)
    cyan, key = inks[..., :3] / 255.0, inks[..., 3:] / 255.0
    expected = 255 * (1 - cyan) * (1 - key)  # without a profile: inks as filters
    yield put(
        "cmyk.tif",
        encoded(Image.frombytes("CMYK", (24, 16), inks.tobytes()), "TIFF"),
        expected,
        1,
        CMYK,
    )
    sheet = Image.new("CMYK", (16, 16), (200, 30, 90, 40))
    inks_left = 1 - np.array([200, 30, 90]) / 255
    expected = np.broadcast_to(255 * inks_left * (1 - 40 / 255), (16, 16, 3))
    data = encoded(sheet, "JPEG", quality=100)
    yield put("cmyk.jpg", data, expected, LOSSY, CMYK)
    data = encoded(sheet, "JPEG", quality=100, icc_profile=b"garbage")
    yield put("bad profile.jpg", data, expected, LOSSY, "cannot be used", CMYK)
    data = encoded(sheet, "JPEG", quality=100, icc_profile=rgb_profile(P3, 2.0))
    yield put("wrong profile.jpg", data, expected, LOSSY, "is for RGB, not CMYK", CMYK)
    # L* = 128/255 * 100 is Y = ((L* + 16) / 116)^3
    middle = float(srgb_levels(np.array(((128 / 2.55 + 16) / 116) ** 3)))
    for name, ink, level in [("white", 0, 255.0), ("cyan", 255, middle)]:
        sheet = Image.new("CMYK", (16, 16), (ink, 0, 0, 0))
        for kind, options in [("TIFF", {}), ("JPEG", {"quality": 100})]:
            data = encoded(sheet, kind, icc_profile=cmyk_profile(), **options)
            path = f"{name}.{kind.lower()}"
            yield put(path, data, np.full((16, 16, 3), level), MANAGED + LOSSY)
    lab = encoded(Image.new("LAB", (4, 4), (128, 128, 128)), "TIFF")
    yield put("lab.tif", lab, np.full((4, 4, 3), middle), MANAGED)
