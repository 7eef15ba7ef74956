"""StyleTransfer under a real Trainer: descent, divergence, averaging, and going on from a file."""

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
LOSS = config.Loss(
    content=config.ContentLoss(["relu2"], relative=True),
    style=config.StyleLoss(["relu1", "relu2"], relative=True),
)


class Poisoned(nn.Module):
    """An objective that is NaN at its n-th evaluation, counted from 1, where ``when(n)``."""

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
        self.objective = build_objective(LOSS, 1.0, 20.0, content, style)
        self.lines: list[str] = []

    def module(
        self,
        optimizer: config.Optimizer,
        averaging: float = 0.0,
        when: Callable[[int], bool] | None = None,
        image: Tensor | None = None,
    ) -> StyleTransfer:
        objective: nn.Module = self.objective if when is None else Poisoned(self.objective, when)
        return StyleTransfer(
            self.image if image is None else image,
            self.encoder,  # type: ignore[arg-type]
            objective,  # type: ignore[arg-type]
            optimizer,
            averaging,
        )


@pytest.fixture
def setting(tiny_encoder: nn.Module, random_image: MakeImage) -> Setting:
    return Setting(tiny_encoder, random_image)


class AfterEachStep(pl.Callback):
    """Keeps what ``look`` sees after every step."""

    def __init__(self, look: Callable[[StyleTransfer], Any]) -> None:
        self.look, self.seen = look, []  # type: ignore[var-annotated]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        assert isinstance(pl_module, StyleTransfer)
        self.seen.append(self.look(pl_module))


def trainer(steps: int, *callbacks: pl.Callback) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=steps,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def total(module: StyleTransfer) -> float:
    with torch.no_grad():
        return float(module.evaluate(module.image()).total)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("parametrization", [PIXELS, FOURIER], ids=["pixels", "fourier"])
def test_the_loss_falls(
    name: str, parametrization: config.Parametrization, setting: Setting
) -> None:
    module = setting.module(replace(OPTIMIZERS[name], parametrization=parametrization))
    before = total(module)
    fit = trainer(20)
    fit.fit(module)
    assert fit.global_step == 20
    assert total(module) < 0.5 * before
    assert module.start_total == pytest.approx(before, rel=1e-5)  # float32
    assert module.best_total <= module.start_total


def test_a_line_search_never_goes_uphill(setting: Setting) -> None:
    watch = AfterEachStep(total)
    trainer(15, watch).fit(setting.module(WOLFE))
    assert watch.seen == sorted(watch.seen, reverse=True)


def test_losses_of_a_step_are_those_of_its_lowest_evaluation(setting: Setting) -> None:
    """With a line search that is the image that the step ends at."""
    watch = AfterEachStep(lambda m: (float(m.losses.total.detach()), total(m)))  # type: ignore[union-attr]
    trainer(10, watch).fit(setting.module(WOLFE))
    for reported, present in watch.seen:
        assert reported == pytest.approx(present, rel=1e-5)  # float32


def test_the_best_image_is_the_one_with_the_lowest_total(setting: Setting) -> None:
    """Without a line search the last image need not be it."""
    module = setting.module(replace(ADAM, lr=40.0))
    trainer(30).fit(module)
    assert module.start_total is not None
    assert module.best_total < module.start_total
    best = module.best_image()
    assert not torch.equal(best, module.image())
    module.restore_best()
    assert torch.equal(best, module.image())
    assert total(module) == pytest.approx(module.best_total, rel=1e-5)  # float32


def test_only_the_image_is_trained_and_saved(setting: Setting) -> None:
    module = setting.module(WOLFE)
    trained = [name for name, p in module.named_parameters() if p.requires_grad]
    assert trained == ["parameter.values"]
    assert list(module.state_dict()) == ["parameter.values"]


def test_evaluations_are_counted(setting: Setting) -> None:
    module = setting.module(WOLFE, when=lambda _: False)
    trainer(5).fit(module)
    assert module.evaluations == module.objective.count  # type: ignore[union-attr]
    assert module.evaluations > 5


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_start_that_is_already_perfect_is_kept(name: str, setting: Setting) -> None:
    """The gradient is exactly 0: L-BFGS stands still, and needs no further evaluation."""
    encoder = setting.encoder
    loss = config.Loss(content=config.ContentLoss(["relu2"]), style=config.StyleLoss())
    setting.objective = build_objective(loss, 1.0, 0.0, encoder(setting.image), {})
    module = setting.module(replace(OPTIMIZERS[name], parametrization=PIXELS))
    setting.objective.terms[0].target0_1.copy_(encoder(module.image())["relu2"])  # type: ignore[operator]
    trainer(4).fit(module)
    assert total(module) == 0.0
    torch.testing.assert_close(module.image(), setting.image, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("poisoned", [3, 7])
def test_one_nan_restarts_from_the_best_image_with_shorter_steps(
    name: str, poisoned: int, setting: Setting
) -> None:
    settings = OPTIMIZERS[name]
    module = setting.module(settings, when=lambda count: count == poisoned)
    lengths = AfterEachStep(lambda m: m.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
    fit = trainer(25, lengths)
    fit.fit(module)
    assert fit.global_step == 25
    assert module.restarts == 1
    assert len(setting.lines) == 1
    assert "style/relu2 is not finite" in setting.lines[0]
    assert sorted({*lengths.seen}) == pytest.approx([settings.lr * LR_BACKOFF, settings.lr])
    assert torch.isfinite(module.image()).all()
    assert module.start_total is not None
    assert module.best_total < module.start_total


def test_the_image_is_put_back_at_once(setting: Setting) -> None:
    lr = 0.05
    module = setting.module(replace(ADAM, lr=lr), when=lambda count: count == 4)
    images = AfterEachStep(lambda m: m.image().clone())
    trainer(4, images).fit(module)
    # Steps this short go straight down: the third image is evaluated as NaN, the second is best.
    # From there Adam's first step moves every value by its length, here the shortened one.
    change = (images.seen[3] - images.seen[1]).abs().max()
    assert float(change) == pytest.approx(LR_BACKOFF * lr / 255, abs=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_image_that_is_not_finite_is_put_back(name: str, setting: Setting) -> None:
    """The objective was finite, but the step that followed was not."""
    module = setting.module(OPTIMIZERS[name])

    class Break(pl.Callback):
        def on_before_optimizer_step(
            self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any
        ) -> None:
            if module.evaluations == 4 and not module.restarts:
                assert module.parameter.values.grad is not None
                module.parameter.values.grad[0, 0, 0, 0] = float("inf")

    trainer(10, Break()).fit(module)
    assert module.restarts == 1
    assert torch.isfinite(module.image()).all()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("restarts", [0, 3])
def test_nan_for_good_is_an_error_after_the_restarts(
    name: str, restarts: int, setting: Setting
) -> None:
    settings = replace(OPTIMIZERS[name], max_restarts=restarts)
    module = setting.module(settings, when=lambda count: count > 4)
    with pytest.raises(NumericalError, match=f"diverged at step .*{restarts} restarts"):
        trainer(20).fit(module)
    assert module.restarts == restarts + 1
    assert len(setting.lines) == min(restarts, 1)
    module.restore_best()
    assert torch.isfinite(module.image()).all()


def test_a_term_that_is_only_measured_must_be_finite_too(setting: Setting) -> None:
    """It would end up in the record."""
    loss = replace(LOSS, content=config.ContentLoss(["relu2"], [], -2, -2, 3e38))
    maps = setting.encoder(setting.image)
    setting.objective = build_objective(
        loss, 0.0, 1.0, setting.encoder(setting.make(12, 10, 3)), maps
    )
    with pytest.raises(NumericalError, match=r"not finite at the start \(content/relu2\); check"):
        trainer(3).fit(setting.module(WOLFE))


def test_a_start_out_of_all_range_is_what_is_named(setting: Setting) -> None:
    module = setting.module(WOLFE, image=setting.image * 1e30)
    with pytest.raises(NumericalError, match=r"values up to 1\.0?e\+30; lower init.noise_scale"):
        trainer(3).fit(module)


def test_a_step_that_is_too_long_for_a_number_is_shortened(setting: Setting) -> None:
    """torch refuses to turn the length of Adam's step into a float32."""
    module = setting.module(replace(ADAM, lr=1e38, max_restarts=45))
    trainer(3).fit(module)
    assert 0 < module.restarts <= 45
    assert torch.isfinite(module.image()).all()
    assert "(the step is not finite)" in setting.lines[0]


def test_the_last_better_step_is_remembered(setting: Setting, tmp_path: Path) -> None:
    """Behind the milestone the image stands still, and the step after it sees that."""
    settings = replace(ADAM, milestones=[4], gamma=0.0)
    whole = setting.module(settings)
    watch = AfterEachStep(lambda m: m.improved_step)
    trainer(12, watch).fit(whole)
    assert watch.seen == [1, 2, 3, 4, *[5] * 8]
    assert whole.improved_total == whole.best_total
    first = trainer(8)
    first.fit(setting.module(settings))
    first.save_checkpoint(tmp_path / "last.ckpt")
    resumed = setting.module(settings)
    trainer(12).fit(resumed, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert (resumed.improved_step, resumed.improved_total) == (5, whole.improved_total)


def test_a_gain_that_rounding_may_have_made_is_no_better_step(setting: Setting) -> None:
    module = setting.module(ADAM, when=lambda _: False)
    objective = module.objective
    totals = iter([1.0, 0.5, 0.5 * (1 - 5e-7), 0.5 * (1 - 9e-7), 0.4])

    def shrink(image: Tensor, features: Features) -> Losses:
        losses: Losses = type(objective).forward(objective, image, features)
        factor = next(totals) / float(losses.total.detach())
        return replace(losses, total=losses.total.double() * factor)

    objective.forward = shrink  # type: ignore[method-assign]
    watch = AfterEachStep(lambda m: m.improved_step)
    trainer(5, watch).fit(module)
    assert watch.seen == [1, 2, 2, 2, 5]


def test_a_checkpoint_of_an_older_version_still_goes_on(setting: Setting, tmp_path: Path) -> None:
    whole = setting.module(WOLFE)
    trainer(9).fit(whole)
    first = trainer(4)
    first.fit(setting.module(WOLFE))
    first.save_checkpoint(tmp_path / "last.ckpt")
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    for name in ("improved_step", "improved_total", "warnings"):
        del checkpoint["style_transfer"][name]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    resumed = setting.module(WOLFE)
    trainer(9).fit(resumed, ckpt_path=tmp_path / "old.ckpt", weights_only=True)
    assert torch.equal(resumed.parameter.values, whole.parameter.values)
    assert resumed.improved_step == whole.improved_step


def test_restarts_are_used_one_after_the_other(setting: Setting) -> None:
    """As many as are allowed in a single step: each with a shorter one."""
    module = setting.module(replace(ADAM, max_restarts=3), when=lambda count: 5 <= count <= 7)
    fit = trainer(12)
    fit.fit(module)
    assert module.restarts == 3
    assert module.optimizers().param_groups[0]["lr"] == pytest.approx(5.0 * LR_BACKOFF**3)  # type: ignore[union-attr]
    assert fit.global_step == 12


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_nan_at_the_start_is_an_error(name: str, setting: Setting) -> None:
    module = setting.module(OPTIMIZERS[name], when=lambda _: True)
    with pytest.raises(NumericalError, match=r"not finite at the start \(style/relu2\)"):
        trainer(5).fit(module)
    assert module.restarts == 0


def test_a_long_step_of_lbfgs_is_survived(setting: Setting) -> None:
    """Nothing is injected: the Gram matrices of the image that the first step leads to overflow."""
    settings = replace(STEPS_OF_LR, first_step=1e11)
    module = setting.module(settings)
    trainer(60).fit(module)
    assert module.restarts >= 1
    assert torch.isfinite(module.image()).all()
    assert module.best_total <= module.start_total  # type: ignore[operator]


@pytest.mark.parametrize("parametrization", [PIXELS, FOURIER], ids=["pixels", "fourier"])
def test_clamping_keeps_every_image_in_range(
    parametrization: config.Parametrization, setting: Setting
) -> None:
    lowest = AfterEachStep(lambda m: (float(m.image().min()), float(m.image().max())))
    settings = config.Adam(lr=30.0, clamp=True, parametrization=parametrization)
    trainer(10, lowest).fit(setting.module(settings))
    # Pixels come back exactly; Fourier coefficients to float32's rounding.
    slack = 0.0 if parametrization is PIXELS else 1e-5
    assert all(low >= -slack and high <= 1 + slack for low, high in lowest.seen)
    free = AfterEachStep(lambda m: float(m.image().max()))
    trainer(10, free).fit(setting.module(replace(settings, clamp=False)))
    assert max(free.seen) > 1.05  # else the above shows nothing


@pytest.mark.parametrize("name", ["wolfe", "adam"])
def test_averaging_is_a_moving_average_without_bias(name: str, setting: Setting) -> None:
    decay, steps = 0.8, 7
    images = AfterEachStep(lambda m: m.image().double())
    module = setting.module(OPTIMIZERS[name], averaging=decay)
    trainer(steps, images).fit(module)
    weights = [decay ** (steps - 1 - k) for k in range(steps)]
    expected = sum(w * x for w, x in zip(weights, images.seen, strict=True)) / sum(weights)
    # Float32 against float64.
    torch.testing.assert_close(module.result_image().double(), expected, rtol=1e-5, atol=1e-6)


def test_without_averaging_the_result_is_the_last_image(setting: Setting) -> None:
    module = setting.module(ADAM)
    trainer(3).fit(module)
    assert torch.equal(module.result_image(), module.image())


def test_averaging_begins_anew_after_a_restart(setting: Setting) -> None:
    decay, poisoned = 0.9, 5
    images = AfterEachStep(lambda m: (m.restarts, m.image().double()))
    module = setting.module(ADAM, averaging=decay, when=lambda count: count == poisoned)
    trainer(8, images).fit(module)
    kept = [image for restarts, image in images.seen if restarts]
    weights = [decay ** (len(kept) - 1 - k) for k in range(len(kept))]
    expected = sum(w * x for w, x in zip(weights, kept, strict=True)) / sum(weights)
    torch.testing.assert_close(module.result_image().double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("parametrization", [PIXELS, FOURIER], ids=["pixels", "fourier"])
def test_a_checkpoint_goes_on_bit_for_bit(
    name: str, parametrization: config.Parametrization, setting: Setting, tmp_path: Path
) -> None:
    settings = replace(OPTIMIZERS[name], parametrization=parametrization)
    whole = setting.module(settings, averaging=0.9)
    trainer(9).fit(whole)
    part = setting.module(settings, averaging=0.9)
    first = trainer(4)
    first.fit(part)
    first.save_checkpoint(tmp_path / "last.ckpt")
    other = setting.make(12, 10, 8)
    resumed = setting.module(settings, averaging=0.9, image=other)
    second = trainer(9)
    second.fit(resumed, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert second.global_step == 9
    assert torch.equal(resumed.parameter.values, whole.parameter.values)
    assert torch.equal(resumed.best_values, whole.best_values)
    assert torch.equal(resumed.result_image(), whole.result_image())
    assert (resumed.best_total, resumed.start_total, resumed.loss_scale) == (
        whole.best_total,
        whole.start_total,
        whole.loss_scale,
    )
    # L-BFGS evaluates the point that it stands at once more.
    again = 1 if name == "wolfe" else 0
    assert resumed.evaluations == whole.evaluations + again


def test_a_shortened_step_stays_short_after_a_checkpoint(setting: Setting, tmp_path: Path) -> None:
    first = trainer(5)
    first.fit(setting.module(ADAM, when=lambda count: count == 3))
    first.save_checkpoint(tmp_path / "last.ckpt")
    resumed = setting.module(ADAM)
    trainer(8).fit(resumed, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert resumed.restarts == 1
    assert resumed.optimizers().param_groups[0]["lr"] == pytest.approx(5.0 * LR_BACKOFF)  # type: ignore[union-attr]


def test_a_checkpoint_holds_no_network(setting: Setting, tmp_path: Path) -> None:
    fit = trainer(2)
    module = setting.module(ADAM)
    module.level, module.clock = 3, lambda: 12.5
    fit.fit(module)
    fit.save_checkpoint(tmp_path / "last.ckpt")
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert list(checkpoint["state_dict"]) == ["parameter.values"]
    assert checkpoint["style_transfer"]["level"] == 3
    assert checkpoint["style_transfer"]["seconds"] == 12.5


class LrOfEachStep(pl.Callback):
    """Keeps the length that every step is taken with."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any
    ) -> None:
        if len(self.seen) == trainer.global_step:  # the first evaluation of a step
            self.seen.append(optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize("name", ["adam", "no_search"])
def test_steps_become_shorter_at_the_milestones(name: str, setting: Setting) -> None:
    """The first three steps have the full length, the fourth is the first that is shorter."""
    settings = replace(OPTIMIZERS[name], lr=0.5, milestones=[3, 5], gamma=0.2)
    if isinstance(settings, config.LBFGS):
        settings = replace(settings, first_step=None)  # which has a length of its own
    lengths = LrOfEachStep()
    trainer(7, lengths).fit(setting.module(settings))
    assert lengths.seen == pytest.approx([0.5] * 3 + [0.1] * 2 + [0.02] * 2)


def test_a_shorter_step_is_what_the_picture_sees(setting: Setting) -> None:
    """Adam's first steps move a value by lr, whatever the gradient: gamma=0 stops it."""
    images = AfterEachStep(lambda m: m.image().clone())
    trainer(5, images).fit(setting.module(replace(ADAM, milestones=[2], gamma=0.0)))
    assert float((images.seen[0] - setting.image).abs().max()) == pytest.approx(5 / 255, rel=1e-3)
    assert not torch.equal(images.seen[1], images.seen[0])
    assert all(torch.equal(image, images.seen[1]) for image in images.seen[2:])


def test_a_milestone_shortens_what_a_restart_has_shortened(setting: Setting) -> None:
    settings = replace(ADAM, milestones=[6], gamma=0.5)
    module = setting.module(settings, when=lambda count: count == 3)
    lengths = LrOfEachStep()
    trainer(8, lengths).fit(module)
    assert module.restarts == 1
    assert lengths.seen[:2] == [5.0, 5.0]
    assert lengths.seen[3:] == pytest.approx([5.0 * LR_BACKOFF] * 3 + [5.0 * LR_BACKOFF * 0.5] * 2)


@pytest.mark.parametrize("name", ["adam", "no_search"])
@pytest.mark.parametrize("stop", [2, 4, 6])  # before, at and behind the first milestone
def test_a_checkpoint_goes_on_with_the_schedule(
    name: str, stop: int, setting: Setting, tmp_path: Path
) -> None:
    settings = replace(OPTIMIZERS[name], milestones=[4, 7], gamma=0.3)
    whole = setting.module(settings)
    trainer(9).fit(whole)
    first = trainer(stop)
    first.fit(setting.module(settings))
    first.save_checkpoint(tmp_path / "last.ckpt")
    resumed = setting.module(settings, image=setting.make(12, 10, 8))
    lengths = LrOfEachStep()
    second = trainer(9, lengths)
    second.fit(resumed, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert second.global_step == 9
    assert torch.equal(resumed.parameter.values, whole.parameter.values)
    last = resumed.optimizers().param_groups[0]["lr"]  # type: ignore[union-attr]
    assert last == pytest.approx(settings.lr * 0.3**2)


def test_adam_takes_over_the_state_of_the_level_before(setting: Setting) -> None:
    shape = setting.image.shape
    carried = {
        "step": torch.tensor(100.0),
        "exp_avg": torch.full(shape, 3.0),
        "exp_avg_sq": torch.full(shape, 1e12),
    }
    module = setting.module(ADAM)
    module.carried_state = carried
    images = AfterEachStep(lambda m: m.image().clone())
    trainer(1, images).fit(module)
    # A second moment this large leaves no step to speak of; afresh, every value moves by lr.
    assert float((images.seen[0] - setting.image).abs().max()) < 1e-3
    state = module.optimizers(use_pl_optimizer=False).state[module.parameter.values]  # type: ignore[union-attr]
    assert float(state["step"]) == 101.0
    assert float(carried["step"]) == 100.0


def test_losses_do_not_depend_on_the_solvers_scale(setting: Setting) -> None:
    """The optimizer sees the loss scaled; what is reported is not."""
    module = setting.module(WOLFE)
    trainer(1).fit(module)
    assert module.start_total is not None
    assert module.loss_scale * module.start_total == pytest.approx(1e6, rel=1e-12)
    assert module.losses is not None
    assert float(module.losses.total.detach()) < module.start_total
