"""Several styles, regions and colors, in whole runs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_run import picture, pixels, stop_at, tiny_run
from PIL import Image

from nst_exp.core.metrics import lab
from nst_exp.runner.regions import PREVIEW
from nst_exp.utils.errors import ConfigError, Interrupted

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


def test_turned_copies_are_like_further_styles(tmp_path: Path, inputs: list[str]) -> None:
    """For an average over positions."""
    content, styles = inputs
    style = styles.partition("[")[2].partition(",")[0]
    turned = tmp_path / "turned.png"
    with Image.open(style) as image:
        squared = image.convert("RGB").resize((64, 64))
    squared.save(tmp_path / "style.png")
    squared.transpose(Image.Transpose.ROTATE_90).save(turned)
    two = [content, f"style=[{tmp_path / 'style.png'},{turned}]"]
    one = [content, f"style={tmp_path / 'style.png'}", "resolution.style_angles=[0,90]"]
    tiny_run(tmp_path / "two", *STEPS, *two)
    tiny_run(tmp_path / "one", *STEPS, *one)
    found, expected = (first_losses(tmp_path / name) for name in ("one", "two"))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_copies_of_another_size(tmp_path: Path, inputs: list[str]) -> None:
    """Half the size is nearly the style image at half its size."""
    settings = {
        "whole": [],
        "half": ["resolution.style_copies=[0.5]"],
        "smaller": ["resolution.style_scale=0.5"],
    }
    for name, keys in settings.items():
        tiny_run(tmp_path / name, "steps=1", "size=64", *inputs, *keys)
    style = {name: first_losses(tmp_path / name)[2] for name in settings}
    assert abs(style["half"] - style["smaller"]) < 0.1 * abs(style["whole"] - style["smaller"])


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
    red = a_map(tmp_path / "red.png", RED)
    with pytest.raises(ConfigError, match="no style map has any of its colors"):
        tiny_run(None, *STEPS, *inputs, *maps, f"content_map={red}")
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


def test_only_the_colors_move(tmp_path: Path, inputs: list[str]) -> None:
    """color=transfer: no step is done, and the colors have the mean of the style's."""
    style = inputs[1].partition("[")[2].split(",")[0]
    result = tiny_run(tmp_path / "run", *STEPS, inputs[0], f"style={style}", "color=transfer")
    assert (result.record["step"], result.record["evaluations"]) == (0, 0)
    found = np.asarray(result.image).mean((0, 1))
    expected = np.asarray(Image.open(style).resize(result.image.size)).mean((0, 1))
    np.testing.assert_allclose(found, expected, atol=8)  # values beyond 0..255 are clipped


def test_the_colors_of_the_content_are_moved_afterwards(tmp_path: Path, inputs: list[str]) -> None:
    """color=chroma: the colors have the mean of the style's; the optimization is as without."""
    style = inputs[1].partition("[")[2].split(",")[0]
    sides = [*STEPS, inputs[0], f"style={style}"]
    plain, result = (tiny_run(None, *sides, f"color={mode}") for mode in ("style", "chroma"))
    assert result.losses == plain.losses
    target = Image.open(style).convert("RGB").resize(result.image.size)
    found, before, expected = (
        lab(torch.from_numpy(np.array(image)).reshape(-1, 3).double() / 255).mean(dim=0)
        for image in (result.image, plain.image, target)
    )
    # Lightness and colors are those of OkLab, and values beyond the style's range are clipped.
    assert float((found - expected)[1:].norm()) < 0.5 * float((before - expected)[1:].norm())
    assert abs(float(found[0] - before[0])) < 5.0


def test_an_interrupted_run_has_its_colors(
    tmp_path: Path, inputs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a level that is smaller than the result."""
    settings = [*inputs, "resolution=pyramid", "resolution.min_size=32", *STEPS]
    for mode in ("style", "chroma"):
        with monkeypatch.context() as patch:
            stop_at(patch, 0, 1)
            with pytest.raises(Interrupted):
                tiny_run(tmp_path / mode, *settings, f"color={mode}")
    plain, moved = (pixels(tmp_path / mode / "image.png") for mode in ("style", "chroma"))
    assert plain.shape == moved.shape == (21, 32, 3)
    assert np.abs(plain.astype(int) - moved).mean() > 5


def half_transparent(path: Path, color: int = 0) -> Path:
    """The upper half is transparent, with a color beneath."""
    image = Image.open(picture(path, (64, 64))).convert("RGBA")
    image.paste((color, color, color, 0), (0, 0, 64, 32))
    image.save(path)
    return path


@pytest.mark.parametrize("name", ["image.png", "image.webp", "image.tif"])
def test_transparent_parts_are_put_back(tmp_path: Path, name: str) -> None:
    content = half_transparent(tmp_path / "a.png")
    settings = [*STEPS, f"content={content}", "keep_alpha=true", f"image={name}"]
    for _ in range(2):  # the second time, the result is read again
        result = tiny_run(tmp_path / "run", *settings)
        assert result.image.mode == "RGBA"
    with Image.open(result.path) as saved:
        alpha = np.asarray(saved.getchannel("A"))
    assert alpha[:31].max() == 0
    assert alpha[33:].min() == 255


def test_what_is_transparent_has_no_part_in_the_loss(tmp_path: Path) -> None:
    """Whatever the background is; positions near the border still see it."""
    changes = []
    for kept in ("true", "false"):
        losses = []
        for color, background in ((0, "black"), (255, "white")):
            content = half_transparent(tmp_path / f"{background}.png", color)
            folder = tmp_path / f"{kept}-{background}"
            settings = [f"content={content}", f"background={background}", f"keep_alpha={kept}"]
            tiny_run(folder, *STEPS, *settings, "loss.style.layers=[relu1]")
            losses.append(first_losses(folder)[2])
        changes.append(abs(np.log(losses[0] / losses[1])))
    assert changes[0] < 0.2 * changes[1]


def test_sixteen_bits_with_transparency(tmp_path: Path) -> None:
    half_transparent(tmp_path / "a.png")
    for name in ("image.png", "image.tif"):
        settings = [f"content={tmp_path / 'a.png'}", "keep_alpha=true", "bit_depth=16"]
        result = tiny_run(tmp_path / name, *STEPS, *settings, f"image={name}")
        with Image.open(result.path) as saved:
            assert np.asarray(saved.convert("RGBA"))[:20, :, 3].max() == 0


@pytest.mark.parametrize(
    "overrides",
    [
        ["regions.border=inside", "regions.content_weights={red: 3}"],
        ["color=luminance", "trainer.precision=64-true", "optimizer=adam"],
    ],
    ids=["regions", "luminance"],
)
def test_blocks_change_nothing_but_last_digits(
    tmp_path: Path, inputs: list[str], overrides: list[str]
) -> None:
    """The margins of the network's first layers are smaller than a block."""
    if "border" in overrides[0]:
        both, red = (a_map(tmp_path / f"{n}.png", *[RED, BLUE][:n]) for n in (2, 1))
        overrides = [*overrides, f"content_map={both}", f"style_map=[{red},{both}]"]
    settings = [*inputs, *overrides, "size=120", "steps=1"]
    whole, tiled = (tiny_run(None, *settings, f"trainer.tile={tile}") for tile in ("null", 32))
    assert tiled.losses == pytest.approx(whole.losses, rel=1e-4)  # float32, after a step
