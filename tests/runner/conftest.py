"""A module for the tests of its steps."""

from collections.abc import Container
from typing import Any

import pytest
from module_runs import LOSS, Make, MakeImage, Poisoned
from torch import nn

from nst_exp.config import schema as config
from nst_exp.core.objective import build_objective
from nst_exp.core.targets import whole_image
from nst_exp.runner.module import StyleTransfer


@pytest.fixture
def make(tiny_encoder: nn.Module, random_image: MakeImage) -> Make:
    """Makes modules that start from the content image, or from an image of another seed."""

    def make(
        settings: config.Optimizer,
        averaging: float = 0.0,
        nan_at: Container[int] = (),
        seed: int = 1,
        loss: config.Loss = LOSS,
    ) -> StyleTransfer:
        content, style = (tiny_encoder(random_image(*s)) for s in ((12, 10, 1), (14, 14, 2)))
        objective: Any = Poisoned(
            build_objective(loss, 1.0, 20.0, content, whole_image(style)), nan_at
        )
        image, encoder = random_image(12, 10, seed), tiny_encoder
        return StyleTransfer(image, encoder, objective, settings, averaging)  # type: ignore[arg-type]

    return make
