"""Losses, maps and gradients that become NaN or infinite, and settings at the ends of the scale."""

import itertools
import json
import math
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from tests.faults import TINY
from tests.faults.commands import Command, run
from tests.faults.evaluations import Fault, inject_into_objective
from tests.faults.outcome import Outcome, part

STEPS, RESTARTS = 8, 3
FREE = "optimizer.line_search=none optimizer.max_step=null"
OPTIMIZERS = ["optimizer=lbfgs", f"{FREE} optimizer.lr=0.5", "optimizer=adam"]
# How a run must end, and its settings.
SETTINGS = f"""
failed {FREE} optimizer.lr=1e30 init=noise steps=40
either {FREE} optimizer.lr=3 init=noise init.noise_scale=0.001 steps=60
either {FREE} optimizer.lr=10 resolution.pyramid=true resolution.sizes=[32,40,48] steps=18
either {FREE} optimizer.lr=10 resolution.averaging=0.9 steps=12
either optimizer=adam optimizer.lr=1e38
either optimizer.first_step=1e20
either loss.style.weights=[1e30,1,1,1] loss.style.relative=false
failed loss.content.c=1e38 alpha=1e6 loss.content.relative=false init=noise
failed init=noise init.noise_scale=1e38
failed backbone.map_scale=1e30
either backbone=vgg16 backbone.weights=random {FREE} optimizer.lr=10
done beta=0 loss.tv.weight=0
done alpha=0 beta=0 loss.tv.weight=1
done init=noise init.noise_scale=1000
done init=noise init.noise_scale=0
done trainer.precision=bf16-mixed optimizer=adam beta=1e6
done trainer.precision=64-true beta=1e12
done loss.tv.weight=1e30
done resolution.averaging=0.999999 steps=1
done optimizer.max_evaluations=1 steps=30
done optimizer=adam optimizer.milestones=[2] optimizer.gamma=0 steps=30
done size=20 resolution.style_size=200
done loss.style.statistic=wasserstein2 loss.style.relative=false content=gray.png style=red.png
done content=black.png style=black.png
done content=white.png style=white.png init=noise
"""


def inject(scale: float, folder: Path) -> Outcome:
    """Inject faults of every kind, early and late, once and forever; then try the settings."""
    outcome = Outcome(
        "divergences and extreme settings: NaN or infinity in losses, maps and gradients, huge "
        "steps and weights, images of one color",
        "a finite image no worse than the start, or exit code 3 and the best image",
    )
    trials: list[tuple[str, Fault | None]] = []
    faults = itertools.product(OPTIMIZERS, ("loss", "map", "gradient"), (1, 2, 5))
    for number, (optimizer, where, at) in enumerate(faults):
        met = Fault(where, (math.nan, math.inf, -math.inf)[number % 3], at, number % 2 == 0)
        trials.append((f"{_end(met)} {optimizer}", met))
    trials += [(line, None) for line in SETTINGS.strip().splitlines()]
    for color in ("black", "gray", "white", "red"):
        Image.new("RGB", (48, 32), color).save(folder / f"{color}.png")
    count = part(len(trials), scale)
    ends = {0: 0, 3: 0}
    for number in range(count):
        line, fault = trials[number * len(trials) // count]
        end, *words = line.split()
        place = folder / str(number)
        place.mkdir()
        arguments = [*TINY, f"steps={STEPS}", f"optimizer.max_restarts={RESTARTS}", *words]
        before = partial(inject_into_objective, fault, place)
        arguments += [f"out={place}/out"]
        command = run(arguments, place / "output.txt", folder=folder, before=before)
        code = {"done": 0, "failed": 3}.get(end, 3 if command.code == 3 else 0)
        ends[code] += 1
        outcome.expect(f"{line} {fault or ''}", command.wrong(code) or _judge(command, place))
    outcome.notes.append(f"{ends[0]} runs ended well, {ends[3]} in an error")
    return outcome


def _end(fault: Fault) -> str:
    """Return how a run must end that meets the fault."""
    if fault.at == 1 and fault.where != "gradient":
        return "failed"  # no loss is known before
    if fault.ever:
        return "failed" if fault.at < STEPS - RESTARTS or fault.where == "gradient" else "either"
    return "done"


def _judge(command: Command, place: Path) -> list[str]:
    """Return what is wrong with the record, the losses and the image."""
    out = place / "out"
    problems: list[str] = []
    record = json.loads(
        (out / "result.json").read_text(encoding="utf-8"),
        parse_constant=lambda word: problems.append(f"{word} in result.json"),
    )
    problems += [f"not printed: {line}" for line in record["warnings"] if line not in command.text]
    totals = json.loads((place / "totals.json").read_text(encoding="utf-8"))
    finite = [total for total in totals if math.isfinite(total)]
    if command.code == 0:
        text, total = (out / "losses.csv").read_text(encoding="utf-8"), record["losses"]["total"]
        if "nan" in text or "inf" in text or not math.isfinite(total):
            problems.append("losses are not finite")
        # Each level of a pyramid has losses of its own scale.
        if total > totals[0] * 1.02 and total > 2 * min(finite) and not record["warnings"]:
            problems.append(f"total {total}, {totals[0]} at the start, without a warning")
    elif (out / "image.png").exists() != bool(finite):
        problems.append(f"{len(finite)} finite losses, but an image, or none")
    elif finite:
        with Image.open(out / "image.png") as image:
            saved = np.asarray(image.convert("RGB")).astype(int)
        best = np.rint(np.clip(np.load(place / "lowest.npy"), 0, 1) * 255).astype(int)
        if saved.shape == best.shape and not np.array_equal(saved, best):
            problems.append("the image is not that of the lowest loss")
    if record["status"] != ("done" if command.code == 0 else "failed"):
        problems.append(f"status {record['status']}")
    return problems
