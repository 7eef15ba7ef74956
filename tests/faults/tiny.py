"""The settings of a run that takes a fraction of a second: for faults and for tests."""

from __future__ import annotations

TINY = [
    "content=chelsea",
    "style=starry_night",
    "backbone=squeezenet1_1",
    "backbone.weights=random",
    "size=48",
    "steps=5",
    "logging.progress=false",
    "logging.metrics=false",  # which need trained weights
    "trainer.accelerator=cpu",
    "trainer.threads=1",  # sums do not depend on the number of cores
]
