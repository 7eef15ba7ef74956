"""What a run needs of memory, what there is, and what happens if it does not fit."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from helpers_run import TINY, pixels, tiny_run

from benchmarks import memory as measurements
from nst_exp.app.api import make_config
from nst_exp.core.encoder import Encoder, build_encoder
from nst_exp.runner import memory
from nst_exp.runner.memory import available, estimate, is_out_of_memory, remedies
from nst_exp.runner.module import StyleTransfer
from nst_exp.utils.errors import ConfigError

CPU = torch.device("cpu")
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    config = make_config(TINY).backbone
    layers = [*config.content_layers, *config.style_layers]
    return build_encoder(config, list(dict.fromkeys(layers)), None)


def needed(encoder: Encoder, side: int, *overrides: str) -> int:
    return estimate(encoder, make_config([*TINY, "steps=500", *overrides]), side, side)


def test_estimate_grows_with_pixels_and_history(encoder: Encoder) -> None:
    small, large = needed(encoder, 256), needed(encoder, 512)
    # Maps are cut off a little at every stage, by less the larger they are.
    assert large == pytest.approx(4 * small, rel=0.05)
    short, long = (needed(encoder, 256, f"optimizer.history={n}") for n in (10, 100))
    assert long - short == 3 * 90 * 256 * 256 * 12  # three images of three float32 per step
    assert needed(encoder, 256, "optimizer=adam") < short


def test_every_map_of_a_chain_is_counted(tiny_encoder: Encoder) -> None:
    # conv1 has 4 channels, conv2 has 5 at half the size; the ReLUs are functions.
    assert memory._bytes_of_maps(tiny_encoder, 20, 10) == 4 * (4 * 200 + 5 * 50)


@LINUX
@pytest.mark.slow
def test_estimate_is_near_what_a_run_takes() -> None:
    """One of the runs that benchmarks/memory.py measures."""
    took, expected = measurements.measure("backbone=squeezenet1_1 size=640 steps=4")
    assert expected == pytest.approx(took, rel=0.35)


@LINUX
def test_available_memory_is_that_of_this_machine() -> None:
    free = available(CPU)
    assert free is not None
    lines = Path("/proc/meminfo").read_text().splitlines()
    total = int(next(line for line in lines if line.startswith("MemTotal")).split()[1]) * 1024
    assert 2**20 < free <= total


@pytest.mark.slow
def test_too_little_memory_is_a_warning_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda device: 10**6)
    (line,) = tiny_run(tmp_path, "steps=1").record["warnings"]
    assert line.startswith("size=48: 48x32 pixels need about 0.0 GB of memory, and 0.0 GB are free")
    assert line.endswith("lower size (now 48) or optimizer.history (now 50), or use optimizer=adam")
    monkeypatch.setattr(memory, "available", lambda device: None)  # not Linux
    assert tiny_run(tmp_path / "other", "steps=1").record["warnings"] == []


def test_remedies_are_keys_that_the_run_has() -> None:
    assert remedies(make_config([*TINY, "optimizer=adam"])) == "lower size (now 48)"
    double = make_config([*TINY, "optimizer=adam", "trainer.precision=64-true"])
    assert remedies(double).endswith("or trainer.precision=32-true")


def test_out_of_memory_is_recognized() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**58)  # as torch itself says it
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(OSError(12, "Cannot allocate memory"))
    assert not is_out_of_memory(RuntimeError("The size of tensor a (3) must match"))
    assert not is_out_of_memory(OSError(28, "No space left on device"))


def test_out_of_memory_in_a_step_saves_the_best_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the history of L-BFGS grows, memory may run out in the middle of a run."""
    step = StyleTransfer.training_step

    def training_step(module: StyleTransfer, *rest: int) -> torch.Tensor:
        if module.evaluations == 4:
            torch.empty(2**58)
        return step(module, *rest)

    monkeypatch.setattr(StyleTransfer, "training_step", training_step)
    with pytest.raises(ConfigError, match=r"^size=48: out of memory; .*; the best image is .*png$"):
        tiny_run(tmp_path)
    record = json.loads((tmp_path / "result.json").read_text())
    assert record["status"] == "failed"
    assert "out of memory" in record["error"]
    assert pixels(tmp_path / "image.png").shape == (32, 48, 3)
