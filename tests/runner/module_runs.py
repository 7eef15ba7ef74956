"""Runs of ``StyleTransfer`` under a real Trainer, with an encoder of two layers."""

from collections.abc import Callable, Container
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import LambdaCallback
from torch import Tensor, nn

from nst_exp.config import schema as config
from nst_exp.core.objective import Losses, Objective
from nst_exp.core.targets import Features, Target
from nst_exp.runner.module import StyleTransfer
from nst_exp.runner.trainer import make_trainer

Make = Callable[..., StyleTransfer]
MakeImage = Callable[..., Tensor]
PIXELS = config.Parametrization(config.ParametrizationKind.pixels)
FOURIER = config.Parametrization(config.ParametrizationKind.fourier)
LAPLACIAN = config.Parametrization(config.ParametrizationKind.laplacian, levels=2)
WOLFE = config.LBFGS(parametrization=PIXELS)
STEPS_OF_LR = config.LBFGS(
    lr=0.5,
    line_search=config.LineSearch.none,
    max_step=None,
    first_step=0.001,
    parametrization=PIXELS,
)
ADAM = config.Adam(parametrization=PIXELS)
RMSPROP = config.RMSprop(parametrization=PIXELS)
OPTIMIZERS = {"wolfe": WOLFE, "no_search": STEPS_OF_LR, "adam": ADAM, "rmsprop": RMSPROP}
LOSS = config.Loss(
    content=config.ContentLoss(["relu2"], relative=True),
    style=config.StyleLoss(["relu1", "relu2"], relative=True),
)

every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)
every_parametrization = pytest.mark.parametrize(
    "parametrization", [PIXELS, FOURIER, LAPLACIAN], ids=["pixels", "fourier", "laplacian"]
)


class Poisoned(nn.Module):
    """An objective that counts its evaluations, and is NaN at some of them."""

    def __init__(self, objective: Objective, nan_at: Container[int]) -> None:
        super().__init__()
        self.objective, self.nan_at, self.count = objective, nan_at, 0

    def forward(self, image: Tensor, features: Features) -> Losses:
        losses: Losses = self.objective(image, features)
        self.count += 1
        if self.count not in self.nan_at:
            return losses
        bad = {"style/relu2": losses.layers["style/relu2"] * float("nan")}
        return replace(losses, total=losses.total * float("nan"), layers=losses.layers | bad)

    def start_step(self, step: int) -> bool:
        return self.objective.start_step(step)

    def jumping_targets(self) -> list[Target]:
        return self.objective.jumping_targets()

    def kept_neighbors(self) -> AbstractContextManager[None]:
        return self.objective.kept_neighbors()


def fit(
    module: StyleTransfer,
    steps: int,
    look: Callable[[Any], Any] = lambda module: None,
    checkpoint: Path | None = None,
) -> list[Any]:
    """Make steps, from a checkpoint if there is one; return what ``look`` sees after each."""
    seen: list[Any] = []
    after = LambdaCallback(on_train_batch_end=lambda trainer, m, *_: seen.append(look(m)))
    trainer = make_trainer(config.TrainerConfig(accelerator="cpu"), steps, [after])
    trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
    assert trainer.global_step == steps
    return seen


def lr_of(module: StyleTransfer) -> float:
    return float(module.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]


@torch.no_grad()
def total(module: StyleTransfer) -> float:
    image = module.image()
    return float(module.objective.objective(image, module.encoder(image)).total)
