"""A run with a fault in it, and a record of all that its objective and its optimizer did.

The record is taken at the objective, and owes nothing to what the program itself remembers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nst_exp.core.objective import Losses, Objective
from nst_exp.core.terms import Features
from nst_exp.runner.module import StyleTransfer


@dataclass(frozen=True)
class Fault:
    """A number that is not finite, put in somewhere."""

    where: str  # loss, map, gradient: of an evaluation; image: after a step
    value: float
    at: int  # which evaluation or step, from 1
    ever: bool = False  # and all that follow

    def is_due(self, count: int) -> bool:
        return count >= self.at if self.ever else count == self.at

    def __str__(self) -> str:
        return f"{self.value} in the {self.where} {'from' if self.ever else 'at'} {self.at}"


@dataclass
class Seen:
    """Every evaluation and every step of a run, as the objective saw them."""

    totals: list[float] = field(default_factory=list)  # of the present level
    images: list[NDArray[np.float32]] = field(default_factory=list)
    of_step: list[int] = field(default_factory=list)  # from 1, of the level
    kept: list[NDArray[np.float32]] = field(default_factory=list)  # behind each since a restart
    restarts: int = 0
    level: int = 0
    evaluations: int = 0
    steps: int = 0  # that are done, in all levels
    step: int = 0  # that is being done, of the level
    training: bool = False

    def at(self, level: int) -> None:
        """A new level begins with nothing."""
        if level != self.level:
            self.totals, self.images, self.of_step, self.kept = [], [], [], []
            self.level = level

    def lowest(self) -> NDArray[np.float32] | None:
        """The image of the lowest finite total."""
        finite = [i for i, total in enumerate(self.totals) if math.isfinite(total)]
        return self.images[min(finite, key=lambda i: self.totals[i])] if finite else None

    def stood(self) -> int:
        """For how many steps of the level, up to the present one, no total was lower by 1e-6."""
        lowest, step = math.inf, 0
        for total, of_step in zip(self.totals, self.of_step, strict=True):
            if total < lowest * (1 - 1e-6):
                lowest, step = total, of_step
        return self.step - step


@contextmanager
def watched(fault: Fault | None) -> Iterator[Seen]:
    """Within, a run is recorded, and ``fault`` is put in."""
    seen = Seen()
    forward, training = Objective.forward, StyleTransfer.training_step
    step = StyleTransfer.optimizer_step

    def watch(self: Objective, image: Tensor, features: Features) -> Losses:
        if not seen.training:
            return forward(self, image, features)
        seen.evaluations += 1
        where = fault.where if fault is not None and fault.is_due(seen.evaluations) else ""
        value = fault.value if fault is not None else 1.0
        if where == "map":
            features = {name: maps * value for name, maps in features.items()}
        if where == "gradient" and image.requires_grad:
            image.register_hook(lambda gradient: gradient * value)  # type: ignore[no-untyped-call]
        losses = forward(self, image, features)
        if where == "loss":
            losses = replace(losses, total=losses.total * value)
        seen.totals.append(float(losses.total.detach()))
        seen.images.append(_array(image))
        seen.of_step.append(seen.step)
        return losses

    def train(self: StyleTransfer, *rest: Any) -> Tensor:
        seen.at(self.level)
        seen.training, seen.step = True, int(self.global_step) + 1
        try:
            return training(self, *rest)
        finally:
            seen.training = False

    def move(self: StyleTransfer, *rest: Any) -> None:
        step(self, *rest)
        seen.steps += 1
        if fault is not None and fault.where == "image" and fault.is_due(seen.steps):
            with torch.no_grad():
                self.parameter.values[0, 0, 0, 0] = fault.value
        if self.restarts != seen.restarts:
            seen.kept, seen.restarts = [], self.restarts
        seen.kept.append(_array(self.image()))

    with (
        patch.object(Objective, "forward", watch),
        patch.object(StyleTransfer, "training_step", train),
        patch.object(StyleTransfer, "optimizer_step", move),
    ):
        yield seen


def _array(image: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = image.detach()[0].permute(1, 2, 0).float().numpy().copy()
    return array
