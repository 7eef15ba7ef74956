"""Losses, maps and gradients that become NaN or infinite, and settings at the ends of the scale."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from tests.faults.commands import TINY, Command, import_all, run
from tests.faults.evaluations import Fault, inject_into_objective
from tests.faults.outcome import Outcome, part

STEPS, RESTARTS = 8, 3
FREE = "optimizer.line_search=none"
OPTIMIZERS = [[], [FREE, "optimizer.lr=0.5"], ["optimizer=adam"]]
# Settings under which a run may diverge, or ("failed") must.
DIVERGENT = f"""
failed {FREE} optimizer.lr=1e30 init=noise steps=40
either {FREE} optimizer.lr=3 init=noise init.noise_scale=0.001 steps=60
either {FREE} optimizer.lr=10 resolution.pyramid=true resolution.sizes=[32,40,48] steps=18
either {FREE} optimizer.lr=10 resolution.averaging=0.9 steps=12
either optimizer=adam optimizer.lr=1000 resolution.averaging=0.5
either optimizer=adam optimizer.lr=1e38
either optimizer.first_step=1e20
either loss.style.weights=[1e30,1,1,1] loss.style.relative=false
failed loss.content.c=1e38 alpha=1e6 loss.content.relative=false init=noise
failed init=noise init.noise_scale=1e38
failed backbone.map_scale=1e30
either backbone=vgg16 backbone.weights=random {FREE} optimizer.lr=10
"""
# Settings that are allowed and must end well.
EXTREME = """
beta=0 loss.tv.weight=0
alpha=0 beta=0 loss.tv.weight=1
alpha=1e12
init=noise init.noise_scale=1000
init=noise init.noise_scale=0
trainer.precision=bf16-mixed optimizer=adam beta=1e6
trainer.precision=64-true beta=1e12
loss.tv.weight=1e30
resolution.averaging=0.999999 steps=1
optimizer.max_evaluations=1 steps=30
optimizer=adam optimizer.lr=1e-12
optimizer=adam optimizer.milestones=[2] optimizer.gamma=0 steps=30
size=20 resolution.style_size=200
loss.style.statistic=wasserstein2 loss.style.relative=false content=gray.png style=red.png
loss.content.relative=true loss.style.relative=true content=black.png style=black.png
content=white.png style=white.png init=noise
"""


def inject(scale: float, folder: Path) -> Outcome:
    """Inject faults of every kind, early and late, once and forever; then try the settings."""
    import_all()
    outcome = Outcome(
        "divergences and extreme settings: NaN or infinity in losses, maps and gradients, huge "
        "steps and weights, images of one color",
        "a finite image no worse than the start, or exit code 3 and the best image",
    )
    trials = [
        (words, fault, _end(fault))
        for words in OPTIMIZERS
        for number, (where, at) in enumerate(
            (where, at) for where in ("loss", "map", "gradient") for at in (1, 2, 5, STEPS)
        )
        if (fault := Fault(where, (math.nan, math.inf, -math.inf)[number % 3], at, number % 2 == 0))
    ]
    trials += [(words, None, end) for end, *words in map(str.split, DIVERGENT.strip().splitlines())]
    trials += [(line.split(), None, "done") for line in EXTREME.strip().splitlines()]
    for color in ("black", "gray", "white", "red"):
        Image.new("RGB", (48, 32), color).save(folder / f"{color}.png")
    count = part(len(trials), scale)
    ends = {0: 0, 3: 0}
    for number in range(count):
        words, fault, end = trials[number * len(trials) // count]
        place = folder / str(number)
        place.mkdir()
        arguments = [*TINY, f"steps={STEPS}", f"optimizer.max_restarts={RESTARTS}", *words]
        before = partial(inject_into_objective, fault, place)
        arguments += [f"out={place}/out"]
        command = run(arguments, place / "output.txt", folder=folder, before=before)
        code = {"done": 0, "failed": 3}.get(end, 3 if command.code == 3 else 0)
        problems = command.wrong(code) or _judge(command, place)
        ends[code] += 1
        outcome.expect(f"{' '.join(words)} {fault or ''}", problems)
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
    problems: list[str] = []
    out = place / "out"
    record = json.loads(
        (out / "result.json").read_text(encoding="utf-8"),
        parse_constant=lambda word: problems.append(f"{word} in result.json"),
    )
    problems += [f"not printed: {line}" for line in record["warnings"] if line not in command.text]
    totals = json.loads((place / "totals.json").read_text(encoding="utf-8"))
    finite = [total for total in totals if math.isfinite(total)]
    if record["status"] != ("done" if command.code == 0 else "failed"):
        problems.append(f"status {record['status']}")
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
    return problems
