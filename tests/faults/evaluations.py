"""Faults at one evaluation of the objective, and a record of all of them, in a forked process."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Fault:
    """A number that is not finite, put into an evaluation."""

    where: str  # loss, map, gradient
    value: float
    at: int  # which evaluation, from 1
    ever: bool = False  # and all that follow

    def is_due(self, count: int) -> bool:
        """Return whether it strikes at this evaluation."""
        return count >= self.at if self.ever else count == self.at


def watched(folder: Path, fault: Fault | None) -> Callable[[], None]:
    """Return a function that has this process record its evaluations and meet the fault.

    ``totals.json`` gets all totals, ``lowest.npy`` the image of the lowest finite one.
    """

    def patch() -> None:
        import torch

        from nst_exp.core.objective import Objective

        forward, totals = Objective.forward, list[float]()

        def watch(self: Any, image: Any, features: dict[str, Any]) -> Any:
            if not torch.is_grad_enabled():  # it only measures
                return forward(self, image, features)
            where = fault.where if fault and fault.is_due(len(totals) + 1) else ""
            value = fault.value if fault else 0.0
            if where == "map":
                features = {name: maps * value for name, maps in features.items()}
            if where == "gradient" and image.requires_grad:
                image.register_hook(lambda gradient: gradient * value)
            losses = forward(self, image, features)
            if where == "loss":
                losses = replace(losses, total=losses.total * value)
            total = float(losses.total.detach())
            if math.isfinite(total) and total < min(
                filter(math.isfinite, totals), default=math.inf
            ):
                np.save(folder / "lowest.npy", image.detach()[0].permute(1, 2, 0).float().numpy())
            totals.append(total)
            (folder / "totals.json").write_text(json.dumps(totals), encoding="utf-8")
            return losses

        Objective.forward = watch  # type: ignore[method-assign]

    return patch


def struck(number: int, at: int) -> Callable[[], None]:
    """Return a function that has this process send itself a signal in an evaluation."""

    def patch() -> None:
        import torch

        from nst_exp.core.objective import Objective

        forward, count = Objective.forward, 0

        def strike(self: Any, image: Any, features: dict[str, Any]) -> Any:
            nonlocal count
            count += torch.is_grad_enabled()
            if count == at:
                os.kill(os.getpid(), number)
            return forward(self, image, features)

        Objective.forward = strike  # type: ignore[method-assign]

    return patch
