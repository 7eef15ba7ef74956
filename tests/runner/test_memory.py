"""What a run needs of memory, what there is, and what is logged if it does not fit."""

import os
import sys

import pytest
import torch
from helpers_run import TINY, tiny_run

from benchmarks import memory as measurements
from nst_exp.app.api import make_config
from nst_exp.core.encoder import Encoder
from nst_exp.runner import memory
from nst_exp.runner.memory import available, estimate, is_out_of_memory

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def test_estimate_is_made_of_maps_and_images(tiny_encoder: Encoder) -> None:
    def needed(*overrides: str) -> int:
        config = make_config([*TINY, "steps=500", "optimizer=adam", *overrides])
        return estimate(tiny_encoder, config, 20, 10)

    # conv1 has 4 channels, conv2 has 5 at half the size; the ReLUs are functions.
    maps, image = 4 * (4 * 200 + 5 * 50), 200 * 12
    assert needed() == round(2.3 * maps) + 20 * image
    assert needed("trainer.precision=64-true") == round(2.3 * 2 * maps) + 20 * image
    assert needed("optimizer=lbfgs", "optimizer.history=10") == needed() + 3 * 10 * image


@LINUX
@pytest.mark.slow
def test_estimate_is_near_what_a_run_takes() -> None:
    """One of the runs that benchmarks/memory.py measures."""
    took, expected = measurements.measure("backbone=squeezenet1_1 size=640 steps=4")
    assert expected == pytest.approx(took, rel=0.35)


@LINUX
def test_available_memory_is_that_of_this_machine() -> None:
    free = available(torch.device("cpu"))
    assert free is not None
    assert 2**20 < free <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_too_little_memory_is_a_warning_before_the_first_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It names keys that the run has."""
    monkeypatch.setattr(memory, "available", lambda device: 10**6)
    (line,) = tiny_run(None, "steps=1").record["warnings"]
    assert line.startswith("size=48: 48x32 pixels need about 0.0 GB of memory, and 0.0 GB are free")
    assert line.endswith("lower size (now 48) or optimizer.history (now 50), or use optimizer=adam")
    double = ["optimizer=adam", "trainer.precision=64-true"]
    (line,) = tiny_run(None, "steps=1", *double).record["warnings"]
    assert line.endswith("; lower size (now 48), or trainer.precision=32-true")
    monkeypatch.setattr(memory, "available", lambda device: None)  # not Linux
    assert tiny_run(None, "steps=1").record["warnings"] == []


def test_out_of_memory_is_recognized() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(OSError(12, "Cannot allocate memory"))
    assert not is_out_of_memory(RuntimeError("The size of tensor a (3) must match"))
    assert not is_out_of_memory(OSError(28, "No space left on device"))
