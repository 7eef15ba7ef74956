"""StyleTransfer under a real Trainer: descent, divergence, averaging, checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from nst_exp.config import schema as config
from nst_exp.core.objective import Losses, Objective, build_objective
from nst_exp.core.terms import Features
from nst_exp.runner.module import LR_BACKOFF, StyleTransfer
from nst_exp.utils.errors import NumericalError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")

MakeImage = Callable[..., Tensor]
PIXELS = config.Parametrization(config.ParametrizationKind.pixels)
FOURIER = config.Parametrization(config.ParametrizationKind.fourier)
WOLFE = config.LBFGS(parametrization=PIXELS)
STEPS_OF_LR = config.LBFGS(
    lr=0.5, line_search=config.LineSearch.none, first_step=0.001, parametrization=PIXELS
)
ADAM = config.Adam(parametrization=PIXELS)
OPTIMIZERS = {"wolfe": WOLFE, "no_search": STEPS_OF_LR, "adam": ADAM}
NUMBERS = ["best_total", "start_total", "loss_scale", "restarts", "improved_step", "improved_total"]
LOSS = config.Loss(
    content=config.ContentLoss(["relu2"], relative=True),
    style=config.StyleLoss(["relu1", "relu2"], relative=True),
)


class Poisoned(nn.Module):
    """An objective that is NaN at its n-th evaluation, counted from 1, if ``when(n)``."""

    def __init__(self, objective: Objective, when: Callable[[int], bool]) -> None:
        super().__init__()
        self.objective, self.when, self.count = objective, when, 0

    def forward(self, image: Tensor, features: Features) -> Losses:
        losses: Losses = self.objective(image, features)
        self.count += 1
        if not self.when(self.count):
            return losses
        bad = {"style/relu2": losses.layers["style/relu2"] * float("nan")}
        return replace(losses, total=losses.total * float("nan"), layers=losses.layers | bad)


class Setting:
    """Images, encoder and objective; makes modules that start from the same point."""

    def __init__(self, encoder: nn.Module, make: MakeImage) -> None:
        self.encoder, self.make = encoder, make
        self.image = make(12, 10, 1)
        content, style = encoder(make(12, 10, 1)), encoder(make(14, 14, 2))
        self.objective: nn.Module = build_objective(LOSS, 1.0, 20.0, content, style)

    def module(
        self,
        optimizer: config.Optimizer,
        averaging: float = 0.0,
        when: Callable[[int], bool] | None = None,
        image: Tensor | None = None,
    ) -> StyleTransfer:
        objective: Any = self.objective if when is None else Poisoned(self.objective, when)  # type: ignore[arg-type]
        encoder: Any = self.encoder
        image = self.image if image is None else image
        return StyleTransfer(image, encoder, objective, optimizer, averaging)


@pytest.fixture
def setting(tiny_encoder: nn.Module, random_image: MakeImage) -> Setting:
    return Setting(tiny_encoder, random_image)


class AfterEachStep(pl.Callback):
    """Keeps what ``look`` returns after every step."""

    def __init__(self, look: Callable[[Any], Any]) -> None:
        self.look = look
        self.seen: list[Any] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        self.seen.append(self.look(pl_module))


def fit(
    module: StyleTransfer, steps: int, *callbacks: pl.Callback, checkpoint: Path | None = None
) -> pl.Trainer:
    """Make steps, from a checkpoint if there is one."""
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=steps,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
    assert trainer.global_step == steps
    return trainer


def lr_of(module: StyleTransfer) -> float:
    return float(module.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]


def total(module: StyleTransfer) -> float:
    with torch.no_grad():
        return float(module.evaluate(module.image()).total)


# Descent


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("parametrization", [PIXELS, FOURIER], ids=["pixels", "fourier"])
def test_the_loss_falls(
    name: str, parametrization: config.Parametrization, setting: Setting
) -> None:
    module = setting.module(replace(OPTIMIZERS[name], parametrization=parametrization))
    before = total(module)
    fit(module, 20)
    assert total(module) < 0.5 * before
    assert module.start_total == pytest.approx(before, rel=1e-5)  # float32
    # The optimizer sees the loss scaled; what is reported is not.
    assert module.loss_scale * module.start_total == pytest.approx(1e6, rel=1e-12)
    assert module.losses is not None
    assert module.best_total <= float(module.losses.total) < module.start_total


def test_a_line_search_never_goes_uphill(setting: Setting) -> None:
    """The losses of a step are those of its lowest evaluation, where it ends."""
    watch = AfterEachStep(lambda m: (total(m), float(m.losses.total)))
    fit(setting.module(WOLFE), 15, watch)
    totals = [present for present, _ in watch.seen]
    assert totals == sorted(totals, reverse=True)
    assert totals == pytest.approx([reported for _, reported in watch.seen], rel=1e-5)  # float32


def test_the_best_image_is_the_one_with_the_lowest_total(setting: Setting) -> None:
    """Without a line search the last image need not be the best one."""
    module = setting.module(replace(ADAM, lr=40.0))
    fit(module, 30)
    best = module.best_image()
    assert not torch.equal(best, module.image())
    module.restore_best()
    assert torch.equal(best, module.image())
    assert total(module) == pytest.approx(module.best_total, rel=1e-5)  # float32


def test_only_the_image_is_trained_and_evaluations_are_counted(setting: Setting) -> None:
    module = setting.module(WOLFE, when=lambda _: False)
    trained = [name for name, p in module.named_parameters() if p.requires_grad]
    assert trained == list(module.state_dict()) == ["parameter.values"]
    fit(module, 5)
    assert module.evaluations == module.objective.count > 5  # type: ignore[union-attr]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_start_that_is_already_perfect_is_kept(name: str, setting: Setting) -> None:
    """The gradient is exactly 0, so L-BFGS does not move and needs no further evaluation."""
    module = setting.module(OPTIMIZERS[name])
    loss = config.Loss(content=config.ContentLoss(["relu2"]), style=config.StyleLoss())
    target = setting.encoder(module.image())
    module.objective = build_objective(loss, 1.0, 0.0, target, {})
    fit(module, 4)
    assert total(module) == 0.0
    torch.testing.assert_close(module.image(), setting.image, rtol=0, atol=1e-6)


@pytest.mark.parametrize("parametrization", [PIXELS, FOURIER], ids=["pixels", "fourier"])
def test_clamping_keeps_every_image_in_range(
    parametrization: config.Parametrization, setting: Setting
) -> None:
    ranges = AfterEachStep(lambda m: (float(m.image().min()), float(m.image().max())))
    settings = config.Adam(lr=30.0, clamp=True, parametrization=parametrization)
    fit(setting.module(settings), 10, ranges)
    # Pixels are exact; Fourier coefficients have float32's rounding.
    slack = 0.0 if parametrization is PIXELS else 1e-5
    assert all(low >= -slack and high <= 1 + slack for low, high in ranges.seen)
    free = AfterEachStep(lambda m: float(m.image().max()))
    fit(setting.module(replace(settings, clamp=False)), 10, free)
    assert max(free.seen) > 1.05  # else the above shows nothing


@pytest.mark.parametrize("poisoned", [0, 5])
def test_averaging_is_a_moving_average_without_bias(poisoned: int, setting: Setting) -> None:
    """It starts afresh after a restart."""
    decay = 0.8
    images = AfterEachStep(lambda m: (m.restarts, m.image().double()))
    module = setting.module(ADAM, averaging=decay, when=lambda count: count == poisoned)
    fit(module, 8, images)
    kept = [image for restarts, image in images.seen if restarts == module.restarts]
    weights = [decay ** (len(kept) - 1 - k) for k in range(len(kept))]
    expected = sum(w * x for w, x in zip(weights, kept, strict=True)) / sum(weights)
    # Float32 against float64.
    torch.testing.assert_close(module.result_image().double(), expected, rtol=1e-5, atol=1e-6)
    assert module.restarts == (poisoned > 0)


def test_adam_takes_over_the_state_of_the_level_before(setting: Setting) -> None:
    shape = setting.image.shape
    module = setting.module(ADAM)
    module.carried_state = {
        "step": torch.tensor(100.0),
        "exp_avg": torch.full(shape, 3.0),
        "exp_avg_sq": torch.full(shape, 1e12),
    }
    fit(module, 1)
    # A second moment this large leaves hardly any step; a fresh Adam moves every value by lr.
    assert float((module.image() - setting.image).abs().max()) < 1e-3


# Divergence


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("poisoned", [(3,), (5, 6, 7)])
def test_each_nan_restarts_from_the_best_image_with_shorter_steps(
    name: str, poisoned: tuple[int, ...], setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    settings = OPTIMIZERS[name]
    module = setting.module(settings, when=lambda count: count in poisoned)
    fit(module, 25)
    assert module.restarts == len(poisoned)
    (line,) = [r.getMessage() for r in caplog.records if r.name.startswith("nst_exp")]
    assert "style/relu2 is not finite" in line
    assert lr_of(module) == pytest.approx(settings.lr * LR_BACKOFF ** len(poisoned))
    assert torch.isfinite(module.image()).all()
    assert module.best_total < module.start_total


def test_the_best_image_is_restored_at_once(setting: Setting) -> None:
    lr = 0.05
    module = setting.module(replace(ADAM, lr=lr), when=lambda count: count == 4)
    images = AfterEachStep(lambda m: m.image().clone())
    fit(module, 4, images)
    # Steps this short go straight down: the third image is evaluated as NaN, the second is best.
    # From there Adam's first step moves every value by its length, here the shortened one.
    change = (images.seen[3] - images.seen[1]).abs().max()
    assert float(change) == pytest.approx(LR_BACKOFF * lr / 255, abs=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_image_that_is_not_finite_is_replaced(name: str, setting: Setting) -> None:
    """The objective was finite, but the step that followed was not."""
    module = setting.module(OPTIMIZERS[name])

    class Break(pl.Callback):
        def on_before_optimizer_step(
            self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any
        ) -> None:
            if module.evaluations == 4 and not module.restarts:
                assert module.parameter.values.grad is not None
                module.parameter.values.grad[0, 0, 0, 0] = float("inf")

    fit(module, 10, Break())
    assert module.restarts == 1
    assert torch.isfinite(module.image()).all()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("restarts", [0, 3])
def test_permanent_nan_is_an_error_after_the_restarts(
    name: str, restarts: int, setting: Setting
) -> None:
    settings = replace(OPTIMIZERS[name], max_restarts=restarts)
    module = setting.module(settings, when=lambda count: count > 4)
    with pytest.raises(NumericalError, match=f"diverged at step .*{restarts} restarts"):
        fit(module, 20)
    assert module.restarts == restarts + 1
    module.restore_best()
    assert torch.isfinite(module.image()).all()


def test_a_start_that_is_not_finite_is_an_error(setting: Setting) -> None:
    """Also if the term has no weight: it would be in the record."""
    loss = replace(LOSS, content=config.ContentLoss(["relu2"], [], -2, -2, 3e38))
    maps = setting.encoder(setting.image)
    other = setting.encoder(setting.make(12, 10, 3))
    setting.objective = build_objective(loss, 0.0, 1.0, other, maps)
    module = setting.module(WOLFE)
    with pytest.raises(NumericalError, match=r"at the start \(content/relu2\); check alpha"):
        fit(module, 3)
    assert module.restarts == 0


@pytest.mark.parametrize(
    "settings",
    [
        replace(ADAM, lr=1e38, max_restarts=45),  # a length that float32 cannot hold
        replace(STEPS_OF_LR, first_step=1e11),  # Gram matrices overflow
        replace(STEPS_OF_LR, first_step=1e40, max_restarts=45),
    ],
)
def test_steps_of_any_length_are_survived(settings: config.Optimizer, setting: Setting) -> None:
    module = setting.module(settings)
    fit(module, 30)
    assert module.restarts >= 1
    assert torch.isfinite(module.image()).all()
    assert module.best_total <= module.start_total


# Progress, for the warning about a stall


def test_the_last_better_step_is_remembered(setting: Setting) -> None:
    """After the milestone the image does not move, and the next step notices."""
    module = setting.module(replace(ADAM, milestones=[4], gamma=0.0))
    watch = AfterEachStep(lambda m: m.improved_step)
    fit(module, 12, watch)
    assert watch.seen == [1, 2, 3, 4, *[5] * 8]
    assert module.improved_total == module.best_total


def test_a_decrease_within_rounding_is_no_better_step(setting: Setting) -> None:
    module = setting.module(ADAM)
    evaluate = module.evaluate
    totals = iter([1.0, 0.5, 0.5 * (1 - 5e-7), 0.5 * (1 - 9e-7), 0.4])

    def shrink(image: Tensor) -> Losses:
        losses = evaluate(image)
        factor = next(totals) / float(losses.total.detach())
        return replace(losses, total=losses.total.double() * factor)

    module.evaluate = shrink  # type: ignore[method-assign]
    watch = AfterEachStep(lambda m: m.improved_step)
    fit(module, 5, watch)
    assert watch.seen == [1, 2, 2, 2, 5]


# Milestones


@pytest.mark.parametrize("name", ["adam", "no_search"])
@pytest.mark.parametrize("restarts", [0, 1])
def test_steps_become_shorter_after_the_milestones(
    name: str, restarts: int, setting: Setting
) -> None:
    """Also those that a restart has shortened."""
    settings = replace(OPTIMIZERS[name], lr=0.5, milestones=[3, 5], gamma=0.2)
    if isinstance(settings, config.LBFGS):
        settings = replace(settings, first_step=None)  # which has a length of its own
    module = setting.module(settings, when=lambda count: restarts == 1 and count == 4)
    lengths = AfterEachStep(lr_of)  # of the step that follows
    fit(module, 7, lengths)
    assert module.restarts == restarts
    late = LR_BACKOFF**restarts
    expected = [0.5] * 2 + [0.1] + [0.1 * late] + [0.02 * late] * 3
    assert lengths.seen == pytest.approx(expected)


# Checkpoints


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("parametrization", [PIXELS, FOURIER], ids=["pixels", "fourier"])
@pytest.mark.parametrize(
    ("stop", "poisoned"),
    [(2, 0), (4, 0), (6, 2)],  # before, at and after the milestone; without and with a restart
)
def test_a_checkpoint_resumes_bit_for_bit(
    name: str,
    parametrization: config.Parametrization,
    stop: int,
    poisoned: int,
    setting: Setting,
    tmp_path: Path,
) -> None:
    milestones = [] if name == "wolfe" else [4, 7]
    settings = replace(
        OPTIMIZERS[name], parametrization=parametrization, milestones=milestones, gamma=0.3
    )
    whole, stopped = (
        setting.module(settings, averaging=0.9, when=lambda count: count == poisoned)
        for _ in range(2)
    )
    path = tmp_path / "last.ckpt"
    fit(whole, 9)
    fit(stopped, stop).save_checkpoint(path)
    assert list(torch.load(path, weights_only=True)["state_dict"]) == ["parameter.values"]
    resumed = setting.module(settings, averaging=0.9, image=setting.make(12, 10, 8))
    fit(resumed, 9, checkpoint=path)
    for image in ("image", "best_image", "result_image"):
        assert torch.equal(getattr(resumed, image)(), getattr(whole, image)()), image
    for number in NUMBERS:
        assert getattr(resumed, number) == getattr(whole, number), number
    assert lr_of(resumed) == lr_of(whole)
    # L-BFGS repeats the evaluation at the point where it is.
    assert resumed.evaluations == whole.evaluations + (name == "wolfe")
