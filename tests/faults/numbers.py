"""Losses, gradients and images that become NaN or infinite, and settings at the ends of the scale.

What a run should have kept is known from the record of every evaluation that ``watch`` takes.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nst_exp.app.api import make_config
from nst_exp.app.console import logged_lines
from nst_exp.results.losses_csv import NAME as LOSSES
from nst_exp.runner.run import Result, run
from nst_exp.utils.errors import NumericalError
from tests.faults import children
from tests.faults.outcome import Outcome, part
from tests.faults.watch import Fault, Seen, watched

STEPS, RESTARTS = 8, 3
SLACK = {"bf16-mixed": 0.02}  # of totals, as the start's is rounded to 8 bits; otherwise 1e-3

# Settings under which a run may leave every finite number by itself, or must fail.
FREE = "optimizer.line_search=none"
DIVERGENT = f"""
either {FREE} optimizer.lr=10
either {FREE} optimizer.lr=10 init=noise steps=40
either {FREE} optimizer.lr=1000 init=noise
failed {FREE} optimizer.lr=1e30 init=noise steps=40
either {FREE} optimizer.lr=3 init=noise init.noise_scale=0.001 steps=60
either {FREE} optimizer.lr=10 steps=5
either {FREE} optimizer.lr=10 steps=6
either {FREE} optimizer.lr=10 steps=7
either {FREE} optimizer.lr=10 resolution.pyramid=true resolution.sizes=[32,40,48] steps=18
either {FREE} optimizer.lr=10 resolution.averaging=0.9 steps=12
either optimizer=adam optimizer.lr=10
either optimizer=adam optimizer.lr=1000
either optimizer=adam optimizer.lr=1000 resolution.averaging=0.5
either optimizer=adam optimizer.lr=1e20
either optimizer=adam optimizer.lr=1e38
either optimizer.lr=1e30
either optimizer.first_step=1e20
either loss.style.weights=[1e30,1,1,1] loss.style.relative=false
failed loss.style.weights=[1e38,1e38,1e38,1e38] init=noise beta=1e6
failed loss.content.c=1e38 alpha=1e6 loss.content.relative=false init=noise
either loss.content.c=1e38 loss.content.relative=false alpha=0 init=noise
either loss.content.c=1e-38 loss.content.relative=false beta=0 loss.tv.weight=0 init=noise
failed init=noise init.noise_scale=1e10
failed init=noise init.noise_scale=1e38
failed backbone.map_scale=1e30
either backbone=vgg16 backbone.weights=random {FREE} optimizer.lr=10
either backbone=vgg19 backbone.weights=random optimizer=adam optimizer.lr=1000
"""

# The ends of what is allowed, which must come to something; content=COLOR is a made picture.
EXTREME = """
beta=1e-8
beta=1e12
beta=0
beta=0 loss.tv.weight=0
beta=0 loss.tv.weight=0 optimizer=adam
alpha=0
alpha=0 beta=0 loss.tv.weight=1
alpha=1e12
alpha=0 init=noise init.noise_scale=100
init=noise init.noise_scale=1000
init=noise init.noise_scale=0
init=noise init.noise_mean=[-5,0.5,7]
init=noise init.noise_scale=100 optimizer=adam
init=style
trainer.precision=bf16-mixed
trainer.precision=bf16-mixed optimizer=adam beta=1e6
trainer.precision=64-true
trainer.precision=64-true beta=1e12
loss.tv.weight=1e12
loss.tv.weight=1e30
loss.range_weight=1e12
resolution.averaging=0.999
resolution.averaging=0.999999 steps=1
resolution.pyramid=true resolution.sizes=[16,24,32,48]
resolution.pyramid=true resolution.sizes=[24,48] resolution.averaging=0.99
optimizer.max_evaluations=1 steps=30
optimizer.history=1
optimizer=adam optimizer.lr=1e-12
optimizer=adam optimizer.eps=1e10
optimizer=adam optimizer.milestones=[2] optimizer.gamma=0 steps=30
optimizer.parametrization.decay=4
optimizer.parametrization.pixel_scale=1e-6
optimizer.parametrization.pixel_scale=1e9
steps=1
steps=1 optimizer=adam
steps=1 optimizer.line_search=none
size=17
size=20 resolution.style_size=200
resolution.style_scale=5
backbone=vgg16 backbone.weights=random
backbone=vgg19 backbone.weights=random init=noise beta=1e8
loss.style.statistic=wasserstein2 loss.style.relative=false
loss.style.statistic=wasserstein2 loss.style.relative=false optimizer=adam
loss.content.relative=true loss.style.relative=true content=black style=black
loss.style.statistic=wasserstein2 loss.style.relative=false content=gray style=red
content=black
content=white
content=gray
content=red
content=mottled
style=black
style=white
style=gray
style=red
style=mottled
content=black style=black init=noise
content=white style=white init=noise
content=gray style=gray optimizer=adam
content=mottled style=mottled
content=mottled style=mottled init=noise
"""
COLORS = {"black": (0, 0, 0), "white": (255,) * 3, "gray": (128,) * 3, "red": (255, 0, 0)}


@dataclass(frozen=True)
class Trial:
    """A run, and how it must end."""

    overrides: list[str]
    fault: Fault | None = None
    end: str = "either"  # done, failed

    def __str__(self) -> str:
        return " ".join([*self.overrides, *([str(self.fault)] if self.fault else [])])


OPTIMIZERS = {
    "search": ["optimizer=lbfgs"],
    "none": ["optimizer=lbfgs", "optimizer.line_search=none", "optimizer.lr=0.5"],
    "adam": ["optimizer=adam"],
}


def injected() -> list[Trial]:
    """Faults of every kind, early and late, once and for ever, with every optimizer."""
    trials = []
    for name, optimizer in OPTIMIZERS.items():
        for number, (where, at) in enumerate(
            (where, at) for where in ("loss", "map", "gradient", "image") for at in (1, 2, 5, STEPS)
        ):
            value = (math.nan, math.inf, -math.inf)[number % 3]
            ever = (number // 4 + number + len(name)) % 2 == 0
            # The first evaluation is all that there is before a loss is known.
            failed = (at == 1 and where in ("loss", "map")) or (ever and at < STEPS - RESTARTS)
            if where == "gradient" and ever:
                failed = True
            end = "failed" if failed else "either" if ever else "done"
            kind = "pixels" if number % 2 else "fourier"
            trials.append(
                Trial(
                    [*optimizer, f"optimizer.parametrization.kind={kind}"],
                    Fault(where, value, at, ever),
                    end,
                )
            )
    return trials


def divergent() -> list[Trial]:
    """Runs that diverge without any help."""
    lines = [line.split() for line in DIVERGENT.strip().splitlines()]
    return [Trial(words, end=end) for end, *words in lines]


def extreme() -> list[Trial]:
    """Runs at the ends of the scale."""
    return [Trial(line.split(), end="done") for line in EXTREME.strip().splitlines()]


def torture(share: float, folder: Path) -> Outcome:
    """``share`` of the injected faults, divergences and extreme settings."""
    outcome = Outcome(
        "divergences and extreme settings: NaN or infinity in losses, maps, gradients and images, "
        "huge steps and weights, pictures of one color",
        "a finite picture no worse than the start, or exit code 3 and the best image; what went "
        "wrong is said, once",
    )
    children.prepare()  # and fork before anything is computed here
    failing = [trial.overrides for trial in divergent() if trial.end == "failed"]
    for number, words in enumerate(failing[: part(3, share)]):
        outcome.expect(*command(words, folder / f"command{number}"))
    ends = {"done": 0, "failed": 0}
    for group in (injected(), divergent(), extreme()):
        count = part(len(group), share)
        for trial in [group[i * len(group) // count] for i in range(count)]:
            broken, end = attempt(trial, folder / f"{outcome.tried}")
            ends[end] += 1
            outcome.expect(not broken, f"{trial}: {'; '.join(broken)}")
    outcome.notes.append(f"{ends['done']} runs ended well, {ends['failed']} in an error")
    return outcome


def attempt(trial: Trial, folder: Path) -> tuple[list[str], str]:
    """What was not as promised, and how the run ended: done or failed."""
    folder.mkdir(parents=True)
    words = [_made(word, folder) for word in trial.overrides]
    config = make_config(
        [*children.TINY, f"steps={STEPS}", f"optimizer.max_restarts={RESTARTS}", *words]
    )
    out, lines, result = folder / "run", list[str](), None
    broken: list[str] = []
    with watched(trial.fault) as seen:
        try:
            with logged_lines(lines.append):
                result = run(config, out)
        except NumericalError as error:
            if "\n" in str(error):
                broken.append(f"not one line: {error}")
        except Exception as error:
            return [f"{type(error).__name__}: {error}"], "failed"
    end = "done" if result else "failed"
    if trial.end not in ("either", end):
        broken.append(f"ended {end}, not {trial.end}")
    broken += _record(out, end, config.steps, lines)
    saved = _saved(out / "image.png")
    allowed = {"the lowest": seen.lowest()}
    if result is not None:
        broken += _worth(result, seen, config.trainer.precision, lines)
        allowed["the last"] = _average(seen.kept, config.resolution.averaging)
    pictures = {
        name: image
        for name, image in allowed.items()
        if image is not None and np.isfinite(image).all()
    }
    if saved is None or not pictures:
        if (saved is None) != (not pictures):
            broken.append(f"a picture: {saved is not None}, images to save: {[*pictures]}")
    # Averages are added up in another order here.
    elif min(int(np.abs(saved - _pixels(image)).max()) for image in pictures.values()) > (
        1 if config.resolution.averaging else 0
    ):
        broken.append(f"the picture is not {' or '.join(pictures)}")
    return broken, end


def _made(word: str, folder: Path) -> str:
    """``content=red`` with a file in place of the color."""
    key, _, kind = word.partition("=")
    if key not in ("content", "style"):
        return word
    pixels = np.random.default_rng(5).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    if kind in COLORS:
        pixels[:] = COLORS[kind]
    Image.fromarray(pixels).save(folder / f"{kind}.png")
    return f"{key}={folder / kind}.png"


def _record(out: Path, status: str, steps: int, lines: list[str]) -> list[str]:
    """What is wrong with the files beside the picture, and with the lines on the screen."""
    broken: list[str] = []

    def refuse(word: str) -> None:
        broken.append(f"{word} in result.json")

    record = json.loads((out / "result.json").read_text(encoding="utf-8"), parse_constant=refuse)
    if record["status"] != status:
        broken.append(f"status {record['status']}, not {status}")
    rows: list[list[float]] = []
    if (out / LOSSES).is_file():
        text = (out / LOSSES).read_text(encoding="utf-8")  # read here, with duplicates and all
        rows = [[float(word) for word in line.split(",")] for line in text.splitlines()[1:]]
    if not all(math.isfinite(value) for row in rows for value in row):
        broken.append(f"{LOSSES} is not finite")
    if status == "done" and [row[0] for row in rows] != [*range(1, steps + 1)]:
        broken.append(f"{LOSSES} has the steps {[row[0] for row in rows]}")
    if len(set(lines)) < len(lines):
        broken.append(f"said twice: {lines}")
    said = [line.removeprefix("warning: ") for line in lines if line.startswith("warning: ")]
    if said != record["warnings"]:
        broken.append(f"said {said}, recorded {record['warnings']}")
    return broken


def _pixels(image: NDArray[Any]) -> NDArray[np.int64]:
    """As they must be in a PNG."""
    pixels: NDArray[np.int64] = np.rint(np.clip(image.astype(np.float32), 0, 1) * 255).astype(int)
    return pixels


def _saved(path: Path) -> NDArray[np.int64] | None:
    if not path.is_file():
        return None
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(np.int64)


def _average(images: list[NDArray[np.float32]], decay: float) -> NDArray[Any]:
    """The last of the images, or their moving average."""
    if not decay:
        return images[-1]
    weights = [decay ** (len(images) - 1 - i) for i in range(len(images))]
    total = sum(w * image.astype(np.float64) for w, image in zip(weights, images, strict=True))
    average: NDArray[Any] = np.asarray(total) / sum(weights)
    return average


def _worth(result: Result, seen: Seen, precision: str, lines: list[str]) -> list[str]:
    """Whether the losses fell, or the record says that they did not."""
    start, total = seen.totals[0], result.losses["total"]
    warnings = " | ".join(result.record["warnings"])
    broken = []
    if total > start * (1 + SLACK.get(precision, 1e-3)) and "above that of the" not in warnings:
        broken.append(f"total {total:.3e} above the start's {start:.3e}, which is not said")
    lowest = min([total, *(value for value in seen.totals if math.isfinite(value))])
    if lowest >= 0.999 * start and "hardly moved" not in warnings:
        broken.append(f"total {start:.3e} stayed at {lowest:.3e}, which is not said")
    elif seen.stood() >= max(10, seen.step / 4) and not re.search(
        r"not fallen since step|hardly moved|converged at step", " | ".join(lines)
    ):
        broken.append(f"no lower total for {seen.stood()} steps, which is not said")
    return broken


def command(words: list[str], folder: Path) -> tuple[bool, str]:
    """A run of the program itself that diverges: its exit code, and one line."""
    folder.mkdir()
    options = [f"steps={STEPS}", f"optimizer.max_restarts={RESTARTS}", *words, f"out={folder}/run"]
    child = children.run([*children.TINY, *options], folder / "screen.txt")
    errors = [line for line in child.text().splitlines() if line.startswith("error: ")]
    kept = child.code == NumericalError.exit_code and len(errors) == 1
    kept = kept and "Traceback" not in child.text()
    return kept, f"python -m nst_exp {' '.join(words)}: exit code {child.code}, {child.text()!r}"
