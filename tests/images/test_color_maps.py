"""Color-coded maps, also as JPEG and with specks."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from nst_exp.images.color_maps import find_colors, label

SKY, WALL, RED = (90, 150, 240), (120, 70, 20), (250, 10, 10)
Array = NDArray[np.uint8]


def a_map(speck: int = 0, **saving: int) -> Array:
    """Sky above a wall, with a red speck; saved as JPEG if ``saving`` has its quality."""
    image = Image.new("RGB", (80, 60), SKY)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 33, 79, 59), WALL)
    if speck:
        draw.rectangle((10, 10, 9 + speck, 9 + speck), RED)
    if saving:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", **saving)
        image = Image.open(buffer)
    return np.asarray(image)


@pytest.mark.parametrize("saving", [{}, {"quality": 75}, {"quality": 30}])
def test_the_colors_of_a_map(saving: dict[str, int]) -> None:
    """A JPEG has mixed colors at borders, which make no regions."""
    colors = find_colors([a_map(**saving)], tolerance=40, min_share=0.01)
    assert len(colors) == 2
    np.testing.assert_allclose(colors, [SKY, WALL], atol=4)
    labels = label(a_map(**saving), colors, 0.01)
    assert (labels[:31] == 0).mean() > 0.999
    assert (labels[35:] == 1).mean() > 0.999


def test_specks_and_near_colors_are_merged() -> None:
    """A region covers min_share of a map at least; the same color may differ between maps."""
    colors = find_colors([a_map(speck=4)], tolerance=40, min_share=0.01)
    assert len(colors) == 2
    assert len(find_colors([a_map(speck=12)], tolerance=40, min_share=0.01)) == 3
    shifted = (a_map().astype(int) + 10).clip(0, 255).astype(np.uint8)
    both = [a_map(), shifted]
    assert len(find_colors(both, tolerance=40, min_share=0.01)) == 2
    assert len(find_colors(both, tolerance=5, min_share=0.01)) == 4


def test_colors_that_a_map_lacks_take_none_of_its_pixels() -> None:
    """A color of another map may be the nearest to mixed ones."""
    colors = [SKY, WALL, (105, 110, 130)]
    labels = label(a_map(quality=30), colors, 0.05)
    assert set(np.unique(labels)) == {0, 1}
