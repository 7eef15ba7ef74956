"""Several styles, regions and colors, in whole runs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_run import picture, pixels, tiny_run
from PIL import Image

from nst_exp.core.metrics import lab
from nst_exp.runner.regions import PREVIEW
from nst_exp.utils.errors import ConfigError

STEPS = ["steps=4", "size=64"]
BLUE, RED, GREEN = (0, 0, 255), (255, 0, 0), (0, 255, 0)


def a_map(path: Path, *colors: tuple[int, int, int], size: tuple[int, int] = (90, 60)) -> Path:
    """Stripes of equal height."""
    image = Image.new("RGB", size)
    height = size[1] // len(colors)
    for index, color in enumerate(colors):
        image.paste(color, (0, index * height, size[0], size[1]))
    image.save(path)
    return path


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    """A content image and two styles."""
    files = [picture(tmp_path / f"{i}.png", (90, 60), seed=i) for i in range(3)]
    return [f"content={files[0]}", f"style=[{files[1]},{files[2]}]"]


def first_losses(result_folder: Path) -> list[float]:
    rows = (result_folder / "losses.csv").read_text().splitlines()
    return [float(value) for value in rows[1].split(",")[2:5]]


def test_styles_are_blended_by_their_weights(tmp_path: Path, inputs: list[str]) -> None:
    """A weight of 0 is as if the style were not there; a sweep sees each weight."""
    alone = inputs[1].partition("[")[2].split(",")[0]
    tiny_run(tmp_path / "alone", *STEPS, inputs[0], f"style={alone}")
    tiny_run(tmp_path / "zero", *STEPS, *inputs, "style_weights=[3,0]")
    result = tiny_run(tmp_path / "both", *STEPS, *inputs, "style_weights=[3,1]")
    of_one = first_losses(tmp_path / "alone")
    np.testing.assert_allclose(first_losses(tmp_path / "zero"), of_one, rtol=1e-4)
    assert abs(first_losses(tmp_path / "both")[2] / of_one[2] - 1) > 0.01
    assert set(result.record["inputs"]) == {"content", "style[0]", "style[1]"}
    assert result.record["config"]["style_weights"] == [3, 1]


def test_a_map_of_one_color_changes_nothing(tmp_path: Path, inputs: list[str]) -> None:
    """Up to the rounding of float32 in the sums."""
    blue = a_map(tmp_path / "blue.png", BLUE)
    plain = tiny_run(tmp_path / "plain", *STEPS, *inputs)
    maps = [f"content_map={blue}", f"style_map=[{blue},{blue}]"]
    masked = tiny_run(tmp_path / "masked", *STEPS, *inputs, *maps)
    found, expected = (first_losses(tmp_path / name) for name in ("masked", "plain"))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert masked.losses["total"] == pytest.approx(plain.losses["total"], rel=1e-3)


def test_each_region_has_the_style_of_its_color(tmp_path: Path) -> None:
    """The upper half becomes dark, the lower half bright, as their styles are."""
    files = {}
    for name, level in (("content", 128), ("dark", 20), ("bright", 235)):
        noise = np.random.default_rng(0).integers(-20, 20, (48, 48, 3)) + level
        Image.fromarray(noise.astype(np.uint8)).save(tmp_path / f"{name}.png")
        files[name] = tmp_path / f"{name}.png"
    size = (48, 48)
    both = a_map(tmp_path / "both.png", BLUE, RED, size=size)
    blue, red = (a_map(tmp_path / f"{max(c)}{c[0]}.png", c, size=size) for c in (BLUE, RED))
    result = tiny_run(
        tmp_path / "run",
        *("size=48", "steps=25", "alpha=0", f"content={files['content']}"),
        *(f"style=[{files['bright']},{files['dark']}]", f"content_map={both}"),
        *(f"style_map=[{red},{blue}]", "backbone.weights=random", "loss.style.layers=[relu1]"),
    )
    image = pixels(result.path).astype(float)
    assert image[:20].mean() < 100 < 156 < image[28:].mean()
    assert (tmp_path / "run" / PREVIEW).is_file()


@pytest.mark.parametrize(
    ("unmatched", "text"),
    [("style", "with all of every style"), ("content", "has no style"), ("error", "use one of")],
)
def test_a_color_that_no_style_has(
    tmp_path: Path, inputs: list[str], unmatched: str, text: str
) -> None:
    both, blue = a_map(tmp_path / "both.png", BLUE, GREEN), a_map(tmp_path / "blue.png", BLUE)
    maps = [f"content_map={both}", f"style_map=[{blue},{blue}]", f"regions.unmatched={unmatched}"]
    if unmatched == "error":
        with pytest.raises(ConfigError, match=text):
            tiny_run(tmp_path / "run", *STEPS, *inputs, *maps)
        return
    warnings = tiny_run(tmp_path / "run", *STEPS, *inputs, *maps).record["warnings"]
    assert any("#00ff00" in line and text in line for line in warnings)


def test_a_region_that_keeps_the_content(tmp_path: Path, inputs: list[str]) -> None:
    """regions.content_weights: the larger the weight, the closer to the content."""
    both, blue = a_map(tmp_path / "both.png", BLUE, RED), a_map(tmp_path / "blue.png", BLUE)
    maps = [f"content_map={both}", f"style_map=[{blue},{blue}]"]
    weight = ["regions.content_weights={red: 1000}", "beta=100", "loss.content.layers=[relu1]"]
    result = tiny_run(tmp_path / "run", *STEPS, *inputs, *maps, *weight, "steps=10")
    content = Image.open(inputs[0].partition("=")[2]).resize(result.image.size)
    change = np.abs(pixels(result.path).astype(float) - np.asarray(content)).mean(axis=(1, 2))
    half = len(change) // 2
    assert change[half + 4 :].mean() < 0.5 * change[: half - 4].mean()
    with pytest.raises(ConfigError, match="green is not in content_map; its colors are #"):
        tiny_run(None, *STEPS, *inputs, *maps, "regions.content_weights={green: 2}")
    with pytest.raises(ConfigError, match="grreen is not a color"):
        tiny_run(None, *STEPS, *inputs, *maps, "regions.content_weights={grreen: 2}")


def test_the_content_keeps_its_colors(tmp_path: Path, inputs: list[str]) -> None:
    """color=luminance: mean a and b within 1 of the content's; snapshots have the colors too."""
    result = tiny_run(tmp_path / "run", *STEPS, *inputs, "color=luminance", "beta=100")
    content = Image.open(inputs[0].partition("=")[2]).convert("RGB").resize(result.image.size)
    means = []
    for image in (result.image, content):
        values = torch.from_numpy(np.array(image)).reshape(-1, 3).double() / 255
        means.append(lab(values).mean(dim=0)[1:])
    torch.testing.assert_close(*means, atol=1.0, rtol=0)
    assert float(np.abs(np.asarray(result.image).astype(float) - np.asarray(content)).mean()) > 1.5


@pytest.mark.parametrize("color", ["match", "histogram"])
def test_the_style_gets_the_colors_of_the_content(
    tmp_path: Path, inputs: list[str], color: str
) -> None:
    distances = [
        tiny_run(tmp_path / mode, *STEPS, *inputs, f"color={mode}", "beta=100", "steps=15")
        for mode in ("style", color)
    ]
    content = np.asarray(Image.open(inputs[0].partition("=")[2])).reshape(-1, 3).mean(0)
    far, near = (np.abs(np.asarray(r.image).mean((0, 1)) - content).mean() for r in distances)
    assert near < far
