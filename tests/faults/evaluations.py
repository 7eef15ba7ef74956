"""Faults at one evaluation of the objective, and a record of all of them, in a forked process."""

import json
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nst_exp.core.objective import Objective


@dataclass(frozen=True)
class Fault:
    """What happens at an evaluation."""

    where: str  # loss, map, gradient: multiplied by the value; signal: sent to the process
    value: float
    at: int  # which evaluation, from 1
    ever: bool = False  # and at all that follow


def inject_into_objective(fault: Fault | None, folder: Path) -> None:
    """Have this process record its evaluations and meet the fault.

    ``totals.json`` gets all totals, ``lowest.npy`` the image of the lowest finite one.
    """
    forward, totals = Objective.forward, list[float]()

    def evaluate(self: Any, image: Any, features: dict[str, Any]) -> Any:
        if not torch.is_grad_enabled():  # it only measures
            return forward(self, image, features)
        count = len(totals) + 1
        due = fault is not None and (count >= fault.at if fault.ever else count == fault.at)
        where, value = (fault.where, fault.value) if fault and due else ("", 0.0)
        if where == "signal":
            os.kill(os.getpid(), int(value))
        if where == "map":
            features = {name: maps * value for name, maps in features.items()}
        if where == "gradient" and image.requires_grad:
            image.register_hook(lambda gradient: gradient * value)
        losses = forward(self, image, features)
        if where == "loss":
            losses = replace(losses, total=losses.total * value)
        total = float(losses.total.detach())
        if math.isfinite(total) and total < min(filter(math.isfinite, totals), default=math.inf):
            np.save(folder / "lowest.npy", image.detach()[0].permute(1, 2, 0).float().numpy())
        totals.append(total)
        (folder / "totals.json").write_text(json.dumps(totals), encoding="utf-8")
        return losses

    Objective.forward = evaluate  # type: ignore[assignment, method-assign]
