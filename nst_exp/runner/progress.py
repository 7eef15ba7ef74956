"""The progress bar of a run."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from tqdm.auto import tqdm

from nst_exp.config.pyramid import Level
from nst_exp.runner.module import StyleTransfer
from nst_exp.utils.progress import every_second

SLOW_SECONDS = 2.0  # of an evaluation, after which its blocks are shown
NARROWEST = 16  # characters of the bar itself


class Progress(Callback):
    """One progress bar for the whole run, over all levels of a pyramid.

    It counts pixels times steps, since a step of a large level takes longer than one of a small
    level; so the time left is right from the first level on. On a terminal and in a notebook it
    changes every second, however long a step takes; a log file gets a line every ten seconds.
    """

    def __init__(self, levels: list[Level], pixels: list[int], done: int, enabled: bool) -> None:
        """Start the bar after ``done`` steps; ``pixels`` are those of each level."""
        self.levels, self.pixels = levels, pixels
        self.level = levels[0]
        self.step, self.steps = done, sum(level.steps for level in levels)
        self.evaluation_start = self.redrawn = 0.0
        self.block, enabled = "", enabled and self.steps > done
        self.losses: list[str] = []
        self.first_step_start = self.estimated = time.monotonic()
        self.left: float | None = None  # seconds, when they were estimated
        self.bar: tqdm[Any] = tqdm(
            total=self.work(self.steps),
            initial=self.work(done),
            disable=not enabled,
            dynamic_ncols=True,
            miniters=1,
            leave=not sys.stderr.isatty(),  # on a terminal, the losses of the result follow
            bar_format="{percentage:3.0f}% {bar} {desc}",
            desc=f"{done}/{self.steps}",
        )
        self.live = enabled and (sys.stderr.isatty() or hasattr(self.bar, "container"))
        self.bar.mininterval = 0.2 if self.live else 10.0

    def work(self, step: int) -> int:
        """Return the pixels times steps in the first ``step`` steps of the run."""
        return sum(
            min(max(step - level.first_step, 0), level.steps) * pixels
            for level, pixels in zip(self.levels, self.pixels, strict=True)
        )

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bar until the block ends."""
        with ExitStack() as stack:
            stack.enter_context(self.bar)
            if self.live:
                stack.enter_context(every_second(self._redraw))
            yield

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock, and show the blocks of an image that is computed in blocks."""
        assert isinstance(pl_module, StyleTransfer)
        if self.left is None:
            self.first_step_start = time.monotonic()
        if pl_module.tiled is not None and not self.bar.disable:
            pl_module.tiled.on_block = self._show_block

    def _show_block(self, done: int, total: int) -> None:
        """Show how far an evaluation is, if it has taken a while."""
        now = time.monotonic()
        if done == 1:
            self.evaluation_start, self.block = now, ""
        if now - self.evaluation_start > SLOW_SECONDS:
            self.block = f"block {done} of {total}"
            if now - self.redrawn > self.bar.mininterval:
                self._redraw()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """Advance the bar and show the losses of the step."""
        assert isinstance(pl_module, StyleTransfer)
        if self.bar.disable or pl_module.losses is None:
            return
        losses = pl_module.losses.as_floats()
        total, *parts = (f"{name} {losses[name]:.3e}" for name in ("total", "content", "style"))
        size = [f"{self.level.size} px"] if len(self.levels) > 1 else []
        self.losses = [total, *size, f"eval {pl_module.evaluations}", *parts]
        self.step, self.block = self.level.first_step + trainer.global_step, ""
        work, self.estimated = self.work(self.step), time.monotonic()
        seconds = (self.estimated - self.first_step_start) / (work - self.bar.initial)
        self.left = seconds * (self.work(self.steps) - work)
        self.bar.set_description_str(self.text(), refresh=False)
        self.bar.update(work - self.bar.n)

    def _redraw(self) -> None:
        self.redrawn = time.monotonic()
        self.bar.set_description_str(self.text())

    def text(self) -> str:
        """Return what stands after the bar: as much as fits the width of the terminal."""
        left = "?"
        if self.left is not None:
            passed = time.monotonic() - self.estimated
            left = tqdm.format_interval(max(self.left - passed, 0))
        shown = self.bar.format_dict
        text = f"{self.step}/{self.steps} [{tqdm.format_interval(shown['elapsed'])} < {left}]"
        columns = shown["ncols"]
        room = columns - len("100%  ") - NARROWEST if isinstance(columns, int) else 1000
        total, others = self.losses[:1], self.losses[1:]
        for part in filter(None, [*total, self.block, *others]):
            if len(text) + 1 + len(part) > room:
                break
            text += f" {part}"
        return text
