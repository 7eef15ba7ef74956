"""``StyleTransfer`` when losses or the image are not finite."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from module_runs import (
    ADAM,
    LOSS,
    OPTIMIZERS,
    STEPS_OF_LR,
    WOLFE,
    Make,
    every_optimizer,
    fit,
    lr_of,
)

from nst_exp.config import schema as config
from nst_exp.core.objective import build_objective
from nst_exp.core.targets import whole_image
from nst_exp.runner.module import LR_BACKOFF
from nst_exp.utils.errors import NumericalError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")


@every_optimizer
@pytest.mark.parametrize("poisoned", [[3], [5, 6, 7]])
def test_each_nan_restarts_from_the_best_image_with_shorter_steps(
    name: str, poisoned: list[int], make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    settings = OPTIMIZERS[name]
    module = make(settings, nan_at=poisoned)
    fit(module, 25)
    assert module.restarts == len(poisoned)
    (line,) = [r.getMessage() for r in caplog.records if r.name.startswith("nst_exp")]
    assert "style/relu2 is not finite" in line
    assert lr_of(module) == pytest.approx(settings.lr * LR_BACKOFF ** len(poisoned))
    assert torch.isfinite(module.image()).all()
    assert module.best_total < module.start_total


def test_the_best_image_is_restored_at_once(make: Make) -> None:
    lr = 0.05
    images = fit(make(replace(ADAM, lr=lr), nan_at=[4]), 4, lambda m: m.image().clone())
    # Steps this short go straight down: the third image is evaluated as NaN, the second is best.
    # From there Adam's first step moves every value by its length, here the shortened one.
    change = (images[3] - images[1]).abs().max()
    assert float(change) == pytest.approx(LR_BACKOFF * lr / 255, abs=1e-6)


@every_optimizer
def test_an_image_that_is_not_finite_is_replaced(name: str, make: Make) -> None:
    """The objective was finite, but the step that followed was not."""
    module = make(OPTIMIZERS[name])

    def corrupt(optimizer: Any) -> None:
        gradient = module.parameter.values.grad
        if module.evaluations == 4 and not module.restarts and gradient is not None:
            gradient[0, 0, 0, 0] = float("inf")

    module.on_before_optimizer_step = corrupt  # type: ignore[method-assign]
    fit(module, 10)
    assert module.restarts == 1
    assert torch.isfinite(module.image()).all()


@every_optimizer
@pytest.mark.parametrize("restarts", [0, 3])
def test_permanent_nan_is_an_error_after_the_restarts(name: str, restarts: int, make: Make) -> None:
    module = make(replace(OPTIMIZERS[name], max_restarts=restarts), nan_at=range(5, 1000))
    with pytest.raises(NumericalError, match=f"diverged at step .*{restarts} restarts"):
        fit(module, 20)
    assert module.restarts == restarts + 1
    module.restore_best()
    assert torch.isfinite(module.image()).all()


def test_a_start_that_is_not_finite_is_an_error(make: Make) -> None:
    """Also if the term has no weight: it would be in the record."""
    module, other = make(WOLFE), make(WOLFE, seed=3)
    loss = replace(LOSS, content=config.ContentLoss(["relu2"], [], -2, -2, 3e38))
    targets = (m.encoder(m.image()) for m in (other, module))
    content, style = targets
    module.objective.objective = build_objective(loss, 0.0, 1.0, content, whole_image(style))
    with pytest.raises(NumericalError, match=r"at the start \(content/relu2\); check alpha"):
        fit(module, 3)
    assert module.restarts == 0


@pytest.mark.parametrize(
    "settings",
    [
        replace(ADAM, lr=1e38, max_restarts=45),  # a length that float32 cannot hold
        replace(STEPS_OF_LR, first_step=1e11),  # Gram matrices overflow
        replace(STEPS_OF_LR, first_step=1e60, max_restarts=70),
    ],
)
def test_steps_of_any_length_are_survived(settings: config.Optimizer, make: Make) -> None:
    module = make(settings)
    fit(module, 30)
    assert module.restarts >= 1
    assert torch.isfinite(module.image()).all()
    assert module.best_total <= module.start_total
