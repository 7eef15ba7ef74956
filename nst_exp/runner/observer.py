"""What a caller in Python adds to a run: loss terms, and a function that sees the image."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
from PIL import Image
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from nst_exp.config.pyramid import Level
from nst_exp.core.image_terms import LossFunction
from nst_exp.images.save import quantize
from nst_exp.images.tensors import to_array
from nst_exp.runner.module import StyleTransfer
from nst_exp.utils.signals import StopRequest

StepCallback = Callable[[int, int, Image.Image, dict[str, float]], object]


@dataclass(frozen=True)
class Extras:
    """What a config cannot hold.

    Attributes:
        callback: Called with step, total steps, image and losses; the run ends if it is False.
        callback_every: Steps between two calls; there is one after the last step as well.
        terms: Further loss terms by name.
    """

    callback: StepCallback | None = None
    callback_every: int = 1
    terms: Mapping[str, LossFunction] = field(default_factory=dict)


class Observer(Callback):
    """Calls the function of the caller."""

    def __init__(
        self,
        extras: Extras,
        level: Level,
        steps: int,
        request: StopRequest,
        finish: Callable[[Tensor], Tensor],
    ) -> None:
        """Follow a level of a run of so many steps.

        ``finish`` gives an image the colors and the opacity that the saved image will have.
        """
        self.extras, self.level, self.steps = extras, level, steps
        self.request, self.finish = request, finish

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """Call the function if it is due."""
        assert isinstance(pl_module, StyleTransfer)
        step, function = self.level.first_step + trainer.global_step, self.extras.callback
        due = step % self.extras.callback_every == 0 or step == self.steps
        if function is None or not due or pl_module.losses is None:
            return
        image = Image.fromarray(quantize(to_array(self.finish(pl_module.result_image()))))
        answer = function(step, self.steps, image, pl_module.losses.as_floats())
        if answer is False and step < self.steps:
            self.request.by_caller = True
