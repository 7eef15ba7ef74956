"""The README's first command with the real network, small."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers_run import environment
from numpy.typing import NDArray
from PIL import Image

from nst_exp import stylize
from nst_exp.images import named_images

README = Path(__file__).resolve().parent.parent / "README.md"
pytestmark = [pytest.mark.slow, pytest.mark.network]


def pixels(image: Image.Image, size: tuple[int, int]) -> NDArray[np.float64]:
    return np.asarray(image.convert("RGB").resize(size), dtype=np.float64) / 255.0


def similarity(a: Image.Image, b: Image.Image) -> float:
    """Return the correlation of the layouts: gray, 24 x 16 pixels."""
    one, other = (pixels(image, (24, 16)).mean(axis=2).ravel() for image in (a, b))
    return float(np.corrcoef(one, other)[0, 1])


def test_first_command_makes_an_image_in_the_style(tmp_path: Path) -> None:
    text = README.read_text(encoding="utf-8")
    (command,) = re.findall(r"^pip install -e \. && python (-m nst_exp)$", text, re.M)
    words = [sys.executable, *command.split(), "size=96", "steps=40", f"out={tmp_path}/out"]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("image.png")
    # The loss falls below a quarter (to 0.13 on version 0.1).
    rows = (tmp_path / "out" / "losses.csv").read_text().splitlines()
    first = dict(zip(rows[0].split(","), map(float, rows[1].split(",")), strict=True))
    final = json.loads((tmp_path / "out" / "result.json").read_text())["losses"]["total"]
    assert final < first["total"] / 4
    # The image is neither of the two, nor gray, and has the layout of the content image.
    result = Image.open(tmp_path / "out" / "image.png")
    content, style = (Image.open(named_images()[n]) for n in ("summer_palace", "starry_night"))
    found = pixels(result, result.size)
    for image in (content, style):
        assert np.sqrt(np.mean((found - pixels(image, result.size)) ** 2)) > 0.08
    assert found.std() > 0.1
    assert similarity(result, content) > max(0.5, similarity(result, style) + 0.2)


def test_beta_moves_the_balance_over_four_decades() -> None:
    """With more beta the style distance falls at every decade, and the content distance rises.

    Above 5, so few steps on so few pixels only show what L-BFGS reached first.
    """
    options = ["size=64", "steps=25", "logging.progress=false"]
    betas = (0.0005, 0.005, 0.05, 0.5, 5)
    results = [stylize(overrides=[*options, f"beta={beta}"]).losses for beta in betas]
    contents, styles = ([losses[name] for losses in results] for name in ("content", "style"))
    assert styles == sorted(styles, reverse=True)
    assert contents == sorted(contents)
    assert styles[0] > 10 * styles[-1]
