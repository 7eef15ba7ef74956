"""StyleTransfer under a real Trainer: descent, divergence, averaging, checkpoints."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from module_runs import (
    ADAM,
    LOSS,
    OPTIMIZERS,
    PIXELS,
    WOLFE,
    Make,
    every_optimizer,
    every_parametrization,
    fit,
    lr_of,
    total,
)
from torch import Tensor

from nst_exp.config import schema as config
from nst_exp.core.objective import Losses, build_objective
from nst_exp.core.targets import whole_image
from nst_exp.runner.module import LR_BACKOFF, StyleTransfer

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")


# Descent


@every_optimizer
@every_parametrization
def test_the_loss_falls(name: str, parametrization: config.Parametrization, make: Make) -> None:
    module = make(replace(OPTIMIZERS[name], parametrization=parametrization))
    before = total(module)
    fit(module, 20)
    assert total(module) < 0.5 * before
    assert module.start_total == pytest.approx(before, rel=1e-5)  # float32
    # The optimizer sees the loss scaled; what is reported is not.
    assert module.loss_scale * module.start_total == pytest.approx(1e6, rel=1e-12)
    assert module.losses is not None
    assert module.best_total <= float(module.losses.total) < module.start_total
    assert module.evaluations == module.objective.count >= 20


def test_a_line_search_never_goes_uphill(make: Make) -> None:
    """The losses of a step are those of its lowest evaluation, where it ends."""
    seen = fit(make(WOLFE), 15, lambda m: (total(m), float(m.losses.total)))
    totals = [present for present, _ in seen]
    assert totals == sorted(totals, reverse=True)
    assert totals == pytest.approx([reported for _, reported in seen], rel=1e-5)  # float32


def test_a_line_search_descends_where_nearest_neighbors_change(make: Make) -> None:
    """The loss jumps there, so that a line search across it finds nothing lower."""
    style = config.StyleLoss(["relu1", "relu2"], statistic=config.Statistic.neighbors, a=0, b=0)
    module = make(WOLFE, loss=replace(LOSS, style=style))
    totals = fit(module, 30, total)
    assert len(set(totals)) == 30
    assert totals[-1] < 0.5 * module.start_total
    assert module.evaluations <= 75  # the start of a step, and a little more than one other


def test_the_best_image_is_the_one_with_the_lowest_total(make: Make) -> None:
    """Without a line search the last image need not be the best one."""
    module = make(replace(ADAM, lr=40.0))
    fit(module, 30)
    best = module.best_image()
    assert not torch.equal(best, module.image())
    module.restore_best()
    assert torch.equal(best, module.image())
    assert total(module) == pytest.approx(module.best_total, rel=1e-5)  # float32


@every_optimizer
def test_a_start_that_is_already_perfect_is_kept(name: str, make: Make) -> None:
    """The gradient is exactly 0, so L-BFGS does not move and needs no further evaluation."""
    module = make(OPTIMIZERS[name])
    start = module.image()
    loss = config.Loss(content=config.ContentLoss(["relu2"]), style=config.StyleLoss())
    module.objective.objective = build_objective(
        loss, 1.0, 0.0, module.encoder(start), whole_image({})
    )
    fit(module, 4)
    assert total(module) == 0.0
    torch.testing.assert_close(module.image(), start, rtol=0, atol=1e-6)


@every_parametrization
def test_clamping_keeps_every_image_in_range(
    parametrization: config.Parametrization, make: Make
) -> None:
    def excess(clamp: bool) -> float:
        settings = config.Adam(lr=30.0, clamp=clamp, parametrization=parametrization)
        return max(fit(make(settings), 10, lambda m: float((m.image() - 0.5).abs().max()) - 0.5))

    # Pixels are exact; Fourier coefficients have float32's rounding.
    assert excess(clamp=True) <= (0.0 if parametrization is PIXELS else 1e-5)
    assert excess(clamp=False) > 0.05  # else the above shows nothing


@pytest.mark.parametrize("poisoned", [0, 5])
def test_averaging_is_a_moving_average_without_bias(poisoned: int, make: Make) -> None:
    """It begins with the image of the start; after a restart, with the image that is restored."""
    decay = 0.8
    module = make(ADAM, averaging=decay, nan_at=[poisoned])
    start = module.image().double()
    assert torch.equal(module.result_image(), module.image())
    seen = fit(module, 8, lambda m: (m.restarts, m.image().double(), m.best_image().double()))
    if poisoned:
        start = next(best for restarts, _, best in reversed(seen) if not restarts)
    kept = [start, *(image for restarts, image, _ in seen if restarts == module.restarts)]
    weights = [decay ** (len(kept) - 1 - k) for k in range(len(kept))]
    expected = sum(w * x for w, x in zip(weights, kept, strict=True)) / sum(weights)
    # Float32 against float64.
    torch.testing.assert_close(module.result_image().double(), expected, rtol=1e-5, atol=1e-6)
    assert module.restarts == (poisoned > 0)


# Progress and milestones


@pytest.mark.parametrize("name", ["wolfe", "adam"])
def test_an_objective_that_changes_is_a_new_start(name: str, make: Make) -> None:
    """L-BFGS forgets gradients of the objective before; totals of both are not compared."""
    module = make(OPTIMIZERS[name])
    evaluate, changed = module.evaluate, [False, False, False, True, False]
    factors = iter([1.0, 5.0])
    factor = next(factors)

    def start_step(step: int) -> bool:
        nonlocal factor
        factor = next(factors) if changed[step] else factor
        return changed[step]

    def scaled(image: Tensor) -> Losses:
        losses = evaluate(image)
        return replace(losses, total=losses.total * factor)

    module.evaluate = scaled  # type: ignore[method-assign]
    module.objective.start_step = start_step  # type: ignore[method-assign]

    def progress(module: StyleTransfer) -> tuple[int, int]:
        state = module.optimizers().state[module.parameter.values]  # type: ignore[union-attr]
        return module.improved_step, int(state.get("n_iter", state.get("step")))

    steps, iterations = zip(*fit(module, 5, progress), strict=True)
    assert steps == (1, 2, 3, 4, 5)
    assert iterations == ((1, 2, 3, 1, 2) if name == "wolfe" else (1, 2, 3, 4, 5))


def test_a_decrease_within_rounding_is_no_better_step(make: Make) -> None:
    module = make(ADAM)
    evaluate = module.evaluate
    totals = iter([1.0, 0.5, 0.5 * (1 - 5e-7), 0.5 * (1 - 9e-7), 0.4])

    def shrink(image: Tensor) -> Losses:
        losses = evaluate(image)
        factor = next(totals) / float(losses.total.detach())
        return replace(losses, total=losses.total.double() * factor)

    module.evaluate = shrink  # type: ignore[method-assign]
    assert fit(module, 5, lambda m: m.improved_step) == [1, 2, 2, 2, 5]


@pytest.mark.parametrize("name", ["adam", "no_search"])
@pytest.mark.parametrize("restarts", [0, 1])
def test_steps_become_shorter_after_the_milestones(name: str, restarts: int, make: Make) -> None:
    """Also those that a restart has shortened."""
    settings = replace(OPTIMIZERS[name], lr=0.5, milestones=[3, 5], gamma=0.2)
    if isinstance(settings, config.LBFGS):
        settings = replace(settings, first_step=None)  # which has a length of its own
    module = make(settings, nan_at=[4] * restarts)
    lengths = fit(module, 7, lr_of)  # of the step that follows
    assert module.restarts == restarts
    late = LR_BACKOFF**restarts
    assert lengths == pytest.approx([0.5] * 2 + [0.1] + [0.1 * late] + [0.02 * late] * 3)


# Checkpoints


@every_optimizer
@every_parametrization
@pytest.mark.parametrize(
    ("stop", "poisoned"),
    [(2, 0), (4, 0), (6, 2)],  # before, at and after the milestone; without and with a restart
)
def test_a_checkpoint_resumes_bit_for_bit(
    name: str,
    parametrization: config.Parametrization,
    stop: int,
    poisoned: int,
    make: Make,
    tmp_path: Path,
) -> None:
    settings = replace(
        OPTIMIZERS[name],
        parametrization=parametrization,
        milestones=[] if name == "wolfe" else [4, 7],
        gamma=0.3,
    )
    whole, stopped = (make(settings, averaging=0.9, nan_at=[poisoned]) for _ in range(2))
    path = tmp_path / "last.ckpt"
    fit(whole, 9)
    fit(stopped, stop)
    stopped.trainer.save_checkpoint(path)
    assert list(torch.load(path, weights_only=True)["state_dict"]) == ["parameter.values"]
    resumed = make(settings, averaging=0.9, seed=8)
    fit(resumed, 9, checkpoint=path)
    for image in ("image", "best_image", "result_image"):
        assert torch.equal(getattr(resumed, image)(), getattr(whole, image)()), image
    for number in ("best_total", "start_total", "loss_scale", "restarts"):
        assert getattr(resumed, number) == getattr(whole, number), number
    assert lr_of(resumed) == lr_of(whole)
    # L-BFGS repeats the evaluation at the point where it is.
    assert resumed.evaluations == whole.evaluations + (name == "wolfe")
