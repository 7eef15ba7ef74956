"""Raw files of cameras are refused, since Pillow reads their preview; other TIFFs load."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from image_files import noise

from nst_exp.images import load_image
from nst_exp.utils.errors import ConfigError

DNG = [(50706, 1, 4, b"\1\4\0\0", True)]
SENSOR = np.zeros((64, 96), np.uint16)


def written(path: Path, first: int, children: int = 0, dng: bool = False, **options: Any) -> Path:
    """Write a TIFF: its first image (``first``: NewSubfileType) and ``children`` in SubIFDs."""
    with tifffile.TiffWriter(path, **options) as file:
        tags = DNG if dng else []
        file.write(noise(), subifds=children, subfiletype=first, extratags=tags, metadata=None)
        for _ in range(children):
            file.write(SENSOR, photometric="minisblack", metadata=None)
    return path


@pytest.mark.parametrize(
    ("name", "first", "children", "dng", "options"),
    [
        ("photo.dng", 1, 1, True, {}),
        ("photo.tif", 1, 1, True, {"byteorder": ">"}),
        ("photo.dng", 1, 2, True, {"bigtiff": True}),
        ("photo.jpg", 0, 0, True, {}),
        ("photo.nef", 1, 1, False, {"byteorder": ">"}),
        ("photo.arw", 1, 3, False, {}),
    ],
)
def test_raw_files_are_refused(
    tmp_path: Path, name: str, first: int, children: int, dng: bool, options: dict[str, Any]
) -> None:
    path = written(tmp_path / name, first, children, dng, **options)
    with pytest.raises(ConfigError) as caught:
        load_image(path, key="style")
    assert str(caught.value) == (
        f"style={path}: it is a camera's raw file; develop it and export a JPEG, PNG or TIFF"
    )


def test_canons_raw_files_are_refused(tmp_path: Path) -> None:
    """CR2: only the mark before the first directory tells it from a TIFF."""
    tags = [(256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 0), (278, 1), (279, 1)]
    directory = struct.pack("<H", len(tags))
    directory += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags) + bytes(4)
    path = tmp_path / "photo.cr2"
    path.write_bytes(b"II*\0\x10\0\0\0" + bytes(8) + directory)
    assert load_image(path, key="style").image.size == (1, 1)
    path.write_bytes(b"II*\0\x10\0\0\0CR\2\0" + bytes(4) + directory)
    with pytest.raises(ConfigError, match="raw file; develop it"):
        load_image(path, key="style")


@pytest.mark.parametrize(("first", "children"), [(0, 0), (0, 2), (1, 0)])
def test_pyramids_and_pages_are_not_raw(tmp_path: Path, first: int, children: int) -> None:
    path = written(tmp_path / "x.tif", first, children)
    assert np.array_equal(np.asarray(load_image(path, key="style").image), noise())


def test_thumbnails_in_later_directories_are_not_raw(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(noise(), metadata=None)
        file.write(noise(12, 8), subfiletype=1, metadata=None)
    loaded = load_image(path, key="style")
    assert np.array_equal(np.asarray(loaded.image), noise())
