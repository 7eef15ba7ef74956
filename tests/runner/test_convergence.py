"""Which image a level ends with, and what is logged if it did not improve."""

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
from nst_exp.utils.errors import NumericalError

Total = Callable[[Tensor], float]


def square(image: Tensor) -> float:
    return float(image.mean()) ** 2


def select(
    last: float,
    best: float,
    start: float,
    *overrides: str,
    averaged: int = 0,
    total: Total = square,
) -> float:
    """The gray that is selected; ``last`` and ``best`` are images of one gray."""
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
    config = make_config([*TINY, *overrides])
    image, losses = select_final_image(module, Level(0, 48, 5, 0), config)  # type: ignore[arg-type]
    assert torch.equal(image, images["last"].clamp(0, 1))
    assert losses["total"] == total(image)
    return float(image.max())


TOO_HIGH = "is too high (%.3e; %.3e at the start, lowest 4.000e-02): the image with the lowest is"
BF16 = "trainer.precision=bf16-mixed"


@pytest.mark.parametrize(
    ("last", "start", "averaged", "is_selected"),
    [
        (0.5, 1.0, 0, True),
        (0.8, 1.0, 0, False),  # far above the lowest
        (0.4, 0.1, 0, False),  # above the start
        (0.8, 1.0, 3, True),  # an average may be far above the lowest, but not above the start
        (0.8, 0.5, 3, False),
    ],
)
def test_last_image_is_selected_unless_it_is_far_off(
    caplog: pytest.LogCaptureFixture, last: float, start: float, averaged: int, is_selected: bool
) -> None:
    found = select(last, 0.2, start, averaged=averaged)
    assert found == pytest.approx(last if is_selected else 0.2)
    assert [TOO_HIGH % (last**2, start) in line for line in caplog.messages] == (
        [] if is_selected else [True]
    )


def test_start_in_bfloat16_may_be_rounded() -> None:
    assert select(0.5, 0.49, 0.99 * 0.25, BF16) == 0.5
    assert select(0.5, 0.49, 0.99 * 0.25) == pytest.approx(0.49)


def test_cut_that_makes_the_image_worse_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The start fits because of its values outside 0..1."""
    assert select(1.5, 1.5, 0.5, total=lambda image: (float(image.mean()) - 2.0) ** 2) == 1.0
    assert "saved image, 1.000e+00, is above that of the start, 5.000e-01, because" in caplog.text


def test_losses_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(NumericalError, match="losses of the image are not finite"):
        select(2.0, 2.0, 9.0, total=lambda image: 1.0 if float(image.mean()) > 1 else float("inf"))


MOVED = r"the total loss hardly moved \(.*\): the start fits already, or the optimizer is stuck"
STALLED = r"the total loss has not fallen since step {} of {}: it has converged, or"


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ("optimizer=adam optimizer.lr=1e-9", MOVED),
        ("optimizer=adam beta=0 loss.tv.weight=0", MOVED),
        # The line search fails in every step.
        ("optimizer.max_evaluations=1 steps=20", STALLED.format(2, 20)),
        (
            "optimizer=adam steps=20 optimizer.milestones=[4] optimizer.gamma=0",
            STALLED.format(r"\d", 20),
        ),
        (
            "optimizer.max_evaluations=1 steps=24 resolution.pyramid=true resolution.sizes=[32,48]",
            "the total loss .* at 32 px",
        ),
    ],
)
def test_stall_is_a_warning(overrides: str, line: str) -> None:
    warnings = tiny_run(None, *overrides.split()).record["warnings"]
    assert sum(re.match(line, one) is not None for one in warnings) == 1, warnings


@pytest.mark.parametrize(
    "overrides",
    [
        "steps=40",
        "optimizer=adam steps=40",
        "optimizer=adam steps=1",
        "init=noise steps=30",
        # A level starts where the one before ended, and may have little left to do.
        "resolution.pyramid=true resolution.sizes=[24,32,48] steps=60",
    ],
)
def test_runs_that_improve_have_no_warnings(overrides: str) -> None:
    assert tiny_run(None, *overrides.split()).record["warnings"] == []


@pytest.mark.parametrize("last", [float("nan"), 1e30])
def test_last_image_that_is_far_off_is_not_saved(
    last: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An optimizer without a line search has not evaluated it."""
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
    assert line.startswith("the total loss of the last image is too high")
    best = images[-1][0].permute(1, 2, 0).clamp(0, 1).numpy()  # such short steps go straight down
    assert np.array_equal(pixels(result.path), np.rint(best * 255))
    assert "NaN" not in (tmp_path / "result.json").read_text()
