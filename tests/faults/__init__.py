"""Fault injection: what the program does when things go wrong, many times over.

``python -m tests.faults`` injects every kind of fault and prints the table of docs/reliability.md.
"""

import multiprocessing
from multiprocessing.context import BaseContext

TINY = [  # a run that takes a fraction of a second
    "content=chelsea",
    "style=starry_night",
    "backbone=squeezenet1_1",
    "backbone.weights=random",
    "size=48",
    "steps=5",
    "logging.progress=false",
    "logging.metrics=false",  # they need trained weights
    "trainer.accelerator=cpu",
    "trainer.threads=1",  # sums do not depend on the number of cores
]


def fresh_processes() -> BaseContext:
    """Return a context of processes that are forked from one that has only done the imports."""
    context = multiprocessing.get_context("forkserver")
    modules = ["api", "main", "sweep.callbacks"]
    context.set_forkserver_preload([f"nst_exp.app.{name}" for name in modules])
    return context
