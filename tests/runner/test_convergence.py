"""Which image a level ends with, and what is said of one that did not get better."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers_run import TINY, pixels, tiny_run
from torch import Tensor

from nst_exp.app.api import make_config
from nst_exp.config.pyramid import Level
from nst_exp.runner.convergence import select_final_image
from nst_exp.runner.module import StyleTransfer
from nst_exp.runner.run import run
from nst_exp.utils.errors import NumericalError

# The choice of an image, with totals that are made up


def settled(
    total: Callable[[Tensor], float],
    last: float,
    best: float,
    start: float,
    *overrides: str,
    averaged: int = 0,
) -> tuple[float, list[str]]:
    """The gray of the picture, and what is said; ``last`` and ``best`` are images of one gray."""
    images = {"last": torch.full((1, 3, 2, 2), last), "best": torch.full((1, 3, 2, 2), best)}
    module = SimpleNamespace(
        result_image=lambda: images["last"],
        best_image=lambda: images["best"],
        restore_best=lambda: images.update(last=images["best"]),
        evaluate=lambda image: SimpleNamespace(as_floats=lambda: {"total": total(image)}),
        best_total=total(images["best"]),
        start_total=start,
        averaged=averaged,
        improved_step=5,
    )
    lines: list[str] = []
    config = make_config([*TINY, *overrides])
    level = Level(0, 48, 5, 0)
    image, losses = select_final_image(module, level, config, lines.append, lines.append)  # type: ignore[arg-type]
    assert torch.equal(image, images["last"].clamp(0, 1))
    assert losses["total"] == total(image)
    return float(image.max()), lines


def square(image: Tensor) -> float:
    return float(image.mean()) ** 2


def test_last_image_is_taken_while_it_is_not_far_above_the_best() -> None:
    assert settled(square, 0.5, 0.2, 1.0) == (0.5, [])
    gray, (line,) = settled(square, 0.8, 0.2, 1.0)
    assert gray == pytest.approx(0.2)
    assert "6.400e-01, is far above the lowest, 4.000e-02: the image of the lowest is" in line


def test_last_image_above_the_start_is_not_taken() -> None:
    gray, (line,) = settled(square, 0.4, 0.2, 0.1)
    assert gray == pytest.approx(0.2)
    assert "1.600e-01, is above that of the start, 1.000e-01: the image of the lowest" in line


def test_average_is_taken_unless_it_is_above_the_start() -> None:
    assert settled(square, 0.8, 0.2, 1.0, averaged=3) == (pytest.approx(0.8), [])
    gray, (line,) = settled(square, 0.8, 0.2, 0.5, averaged=3)
    assert gray == pytest.approx(0.2)
    assert "far above" in line


def test_bfloat16_may_have_seen_the_start_a_little_lower() -> None:
    start, overrides = 0.99 * 0.25, "trainer.precision=bf16-mixed"
    assert settled(square, 0.5, 0.49, start, overrides) == (0.5, [])
    assert settled(square, 0.5, 0.49, start)[0] == pytest.approx(0.49)


def test_cut_that_makes_the_picture_worse_is_said() -> None:
    """The start fits, as far as it lies outside 0..1."""
    gray, (line,) = settled(lambda image: (float(image.mean()) - 2.0) ** 2, 1.5, 1.5, 0.5)
    assert gray == 1.0
    assert line.startswith(
        "the saved picture's total loss, 1.000e+00, is above that of the start, 5.000e-01: what "
        "lies outside 0..1 is cut off"
    )


def test_losses_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(NumericalError, match="losses of the picture are not finite"):
        settled(lambda image: 1.0 if float(image.mean()) > 1 else float("inf"), 2.0, 2.0, 9.0)


# Whole runs


def said(*overrides: str) -> list[str]:
    """What a run tells."""
    lines: list[str] = []
    run(make_config([*TINY, *overrides]), None, lines.append)
    return lines


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            "optimizer=adam optimizer.lr=1e-9",
            r"warning: the total loss hardly moved \(.*\): the steps are too short; try a larger",
        ),
        (
            "optimizer=adam beta=0 loss.tv.weight=0",
            r"warning: the total loss hardly moved \(.*\): the start fits already, no step",
        ),
        (
            "loss.style.weights=[1e-40,0,0,0] alpha=0 loss.tv.weight=0",
            r"warning: the total loss hardly moved \(.*\): its gradient is 0; the start fits",
        ),
        (
            "optimizer.max_evaluations=1 steps=20",  # the line search fails for ever
            r"warning: the total loss has not fallen since step 2 of 20, although a step downhill "
            r"from the best image lowers it: .* after optimizer.max_evaluations=1; try 25$",
        ),
        (
            "optimizer=adam optimizer.lr=100 steps=90",
            r"warning: .* not fallen since step \d+ of 90, .*: the steps are too long; try a "
            r"smaller optimizer.lr \(now 100\), or milestones$",
        ),
        (
            "optimizer=adam steps=20 optimizer.milestones=[4] optimizer.gamma=0",
            r"warning: .* since step \d of 20, .*: the steps are too short; .* later milestones$",
        ),
        (
            "beta=0 loss.tv.weight=0 init=noise steps=90",
            r"converged at step \d+ of 90: no step downhill lowers the total loss$",
        ),
        (
            "optimizer.max_evaluations=1 steps=24 resolution.pyramid=true resolution.sizes=[32,48]",
            r"warning: the total loss .* at 32 px",
        ),
    ],
)
def test_standstill_is_said(overrides: str, line: str) -> None:
    lines = said(*overrides.split())
    assert sum(re.match(line, one) is not None for one in lines) == 1, lines


@pytest.mark.parametrize(
    "overrides",
    ["steps=40", "optimizer=adam steps=40", "optimizer=adam steps=1", "init=noise steps=30"],
)
def test_runs_that_get_on_are_not_warned_about(overrides: str) -> None:
    assert said(*overrides.split()) == []


@pytest.mark.parametrize("last", [float("nan"), 1e30, 2.0])
def test_last_image_that_is_far_off_is_not_saved(
    last: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an optimizer without a line search nobody has evaluated it."""
    step, images = StyleTransfer.optimizer_step, []

    def optimizer_step(module: StyleTransfer, *rest: object) -> None:
        images.append(module.image())
        step(module, *rest)  # type: ignore[arg-type]
        if len(images) == 5:
            with torch.no_grad():
                module.parameter.values.fill_(last * 255)

    monkeypatch.setattr(StyleTransfer, "optimizer_step", optimizer_step)
    pixel = "optimizer.parametrization.kind=pixels"
    result = tiny_run(tmp_path, "optimizer=adam", "optimizer.lr=1", pixel)
    (line,) = result.record["warnings"]
    assert line.startswith("the last image's total loss, ")
    assert line.endswith("the image of the lowest is taken")
    best = images[-1][0].permute(1, 2, 0).clamp(0, 1).numpy()  # such short steps go straight down
    assert np.array_equal(pixels(result.path), np.rint(best * 255))
    assert "NaN" not in (tmp_path / "result.json").read_text()


def test_level_that_ends_far_off_does_not_spoil_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ["optimizer=adam", "resolution.pyramid=true", "resolution.sizes=[32,48]", "steps=12"]
    sound = tiny_run(None, *settings)
    step, levels = StyleTransfer.optimizer_step, []

    def optimizer_step(module: StyleTransfer, *rest: object) -> None:
        step(module, *rest)  # type: ignore[arg-type]
        levels.append(module.level)
        if levels == [0] * 6:  # the last of its steps
            with torch.no_grad():
                module.parameter.values.fill_(1e30)

    monkeypatch.setattr(StyleTransfer, "optimizer_step", optimizer_step)
    result = tiny_run(None, *settings)
    assert any("the last image's total loss at 32 px" in w for w in result.record["warnings"])
    # It goes on from the best image of a step before.
    assert result.losses["total"] < 2 * sound.losses["total"]


def test_levels_of_a_pyramid_are_not_told_apart_by_their_start() -> None:
    """A level begins where the one before ended, and may have little left to do."""
    pyramid = ["resolution.pyramid=true", "resolution.sizes=[24,32,48]", "steps=60"]
    assert said(*pyramid) == []
