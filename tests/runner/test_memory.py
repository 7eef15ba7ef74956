"""What a run needs of memory, what there is, and what is logged if it does not fit."""

import os
import re
import sys
from pathlib import Path

import pytest
import torch
from helpers_run import TINY, tiny_run

from benchmarks import memory as measurements
from nst_exp.app.api import make_config
from nst_exp.config.pyramid import levels_of
from nst_exp.core.encoder import Encoder
from nst_exp.runner import memory
from nst_exp.runner.memory import available, estimate, installed, is_out_of_memory
from nst_exp.runner.validate import validate
from nst_exp.utils.errors import ConfigError

LAYERS = "layers=[features.2.1.add]"
EFFICIENTNET = [
    *("backbone=torchvision", "backbone.name=efficientnet_b0"),
    *(f"loss.{term}.{LAYERS}" for term in ("content", "style")),
]
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def test_estimate_is_made_of_maps_and_images(tiny_encoder: Encoder) -> None:
    def needed(*overrides: str, style: tuple[int, int] = (20, 20)) -> int:
        layers = "loss={content:{layers:[relu1]},style:{layers:[relu2]}}"
        config = make_config([*TINY, layers, "steps=500", "optimizer=adam", *overrides])
        return estimate(tiny_encoder.to("meta"), config, levels_of(config)[-1], (20, 10), style)

    # conv1 has 4 channels, conv2 has 5 at half the size; the ReLUs are functions.
    maps, image = 4 * (4 * 200 + 5 * 50), 200 * 12
    start, pairs = 150_000_000, 8 * 4 * 5**2  # pairs of channels of conv2
    assert needed() == start + round(2.0 * maps + pairs) + 20 * image
    assert (
        needed("trainer.precision=64-true") == start + round(2 * (2.0 * maps + pairs)) + 20 * image
    )
    assert needed("optimizer=lbfgs", "optimizer.history=10") == needed() + 3 * 10 * image
    # The style's own pass needs more.
    assert needed(style=(400, 200)) == start + round(0.5 * 400 * maps)
    sliced, second = "loss.style.statistic=sliced", 4 * 5 * 50
    assert needed(sliced) == needed() - pairs + 7 * second
    assert needed(sliced, "style=[starry_night,chelsea]") == needed() - pairs + 2 * 7 * second
    pair = "loss.style.layers=['relu1:relu2']"
    assert needed(pair) == needed() - pairs + 8 * 4 * 9**2 + 4 * 9 * 200


@LINUX
@pytest.mark.slow
@pytest.mark.parametrize(
    "run",
    ["backbone=squeezenet1_1 size=640 steps=4", "backbone=vgg16 size=192 steps=1 loss=heitz2021"],
)
def test_estimate_is_near_what_a_run_takes(run: str) -> None:
    """Runs like those that benchmarks/memory.py measures."""
    took, expected = measurements.measure(run)
    assert expected == pytest.approx(took, rel=0.35)


@LINUX
def test_memory_is_that_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    free, total = available(torch.device("cpu")), installed(torch.device("cpu"))
    assert free is not None
    assert total is not None
    assert total <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert free > 2**20


@LINUX
def test_memory_is_limited_by_every_control_group_above(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/self/cgroup": "1:memory:/other\n0::/slurm/job_7/step_0\n",
        "/sys/fs/cgroup/slurm/job_7/step_0/memory.max": "max\n",
        "/sys/fs/cgroup/slurm/job_7/memory.max": "4000000\n",
        "/sys/fs/cgroup/slurm/memory.max": "9000000\n",
    }

    def read_text(path: Path, encoding: str) -> str:
        if str(path) not in files:
            raise FileNotFoundError
        return files[str(path)]

    monkeypatch.setattr(Path, "read_text", read_text)
    assert installed(torch.device("cpu")) == 4_000_000


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["resolution.size_mode=area", "resolution.style_scale=4"],
        ["trainer.precision=64-true", "resolution=pyramid", "resolution.min_size=16"],
    ],
)
def test_more_than_there_is_in_all_is_refused_before_any_work(
    overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size that is named fits, and the next one does not."""
    folder, settings = tmp_path / "run", ["size=512", "steps=4", *overrides]
    monkeypatch.setattr(memory, "installed", lambda device: memory.BASE + 30 * 10**6)
    with monkeypatch.context() as patched:
        patched.setattr("nst_exp.runner.run.make_network", lambda *_: pytest.fail("loads weights"))
        with pytest.raises(ConfigError) as caught:
            tiny_run(folder, *settings)
    assert not (folder / "result.json").exists()
    found = re.fullmatch(
        r"size=512: \d+x\d+ pixels, with a style image of \d+x\d+, need about \d\.\d GB of memory, "
        r"and this machine has 0\.[23] GB; use size=(\d+) or less, or force=true to try it",
        str(caught.value),
    )
    assert found is not None
    largest = int(found[1])
    assert 16 <= largest < 512
    assert tiny_run(folder, *settings, f"size={largest}").record["status"] == "done"
    with pytest.raises(ConfigError, match=f"size={largest} or less"):
        tiny_run(None, *settings, f"size={largest + 1}")


def test_what_no_size_helps_is_refused_with_other_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "installed", lambda device: memory.BASE + 8 * 10**6)
    with pytest.raises(ConfigError, match=r"of 1024x808, .*; lower resolution\.style_size,"):
        tiny_run(None, "resolution.style_size=1024")


def test_force_tries_it_and_a_finished_run_is_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "installed", lambda device: 10**6)
    (line,) = tiny_run(tmp_path, "steps=1", "force=true", "trainer.tile=null").record["warnings"]
    assert line.endswith("and this machine has 0.0 GB; tried nevertheless, as force=true asks for")
    assert tiny_run(tmp_path, "steps=1", "trainer.tile=null").record["status"] == "done"


def test_too_little_memory_is_a_warning_before_the_first_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It names keys that the run has."""
    monkeypatch.setattr(memory, "available", lambda device: 10**6)
    (line,) = tiny_run(None, "steps=1", "trainer.tile=null").record["warnings"]
    start = (
        "size=48: 48x32 pixels, with a style image of 48x38, need about 0.2 GB of memory, and 0.0"
    )
    assert line.startswith(start)
    assert line.endswith("lower size (now 48) or optimizer.history (now 50), or use optimizer=adam")
    double = ["optimizer=adam", "trainer.precision=64-true", "trainer.tile=null"]
    (line,) = tiny_run(None, "steps=1", *double).record["warnings"]
    assert line.endswith("; lower size (now 48), or trainer.precision=32-true")
    monkeypatch.setattr(memory, "available", lambda device: None)  # not Linux
    assert tiny_run(None, "steps=1").record["warnings"] == []


def test_blocks_if_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the largest that fit, unless no statistic allows any."""
    monkeypatch.setattr(memory, "BLOCKS", (128, 64))
    settings = ["steps=1", "size=320", "trainer.tile_memory=0.05"]
    whole, tiled = (tiny_run(None, *settings[:n]).record for n in (2, 3))
    (line,) = tiled["warnings"]
    assert line == (
        "320x213 pixels at once need more memory than is free, so they are computed in blocks of "
        "64; trainer.tile=null computes them at once"
    )
    assert whole["warnings"] == []
    assert tiled["losses"] == pytest.approx(whole["losses"], rel=1e-3)  # of float32, after a step
    histogram = "loss.style.statistic=histogram"
    assert tiny_run(None, *settings, histogram).record["warnings"] == []


def test_a_level_has_blocks_of_its_own() -> None:
    """The side is a number; what the config asks for is no warning."""
    levels = ["resolution=pyramid", "resolution.min_size=60", "steps=2", "size=120"]
    whole = tiny_run(None, *levels)
    tiled = tiny_run(None, *levels, "resolution.levels=[{}, {tile: 32}]")
    assert tiled.record["warnings"] == whole.record["warnings"]
    assert tiled.losses == pytest.approx(whole.losses, rel=1e-4)  # float32, after two steps
    settings = [*levels, "resolution.levels=[{tile: 64}]", "loss.style.statistic=histogram"]
    with pytest.raises(ConfigError, match=r"levels\[0\]\.tile=64: .* needs the whole image"):
        validate(make_config([*TINY, *settings]))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trainer.tile=12"], "must be auto, null, or a side of 32 to 65535 pixels"),
        (
            ["trainer.tile=64", "loss.style.statistic=histogram"],
            "loss.style.statistic=histogram needs the whole image; use trainer.tile=null",
        ),
        (
            ["trainer.tile=32", "size=67", "backbone.padding=circular"],
            "an image of 45 pixels has no blocks that tile: it is not a multiple of 8; "
            "use trainer.tile=null",
        ),
        (
            ["trainer.tile=32", *EFFICIENTNET],
            "Conv2dNormActivation may depend on the whole image; use trainer.tile=null",
        ),
    ],
)
def test_what_has_no_blocks_is_refused(overrides: list[str], message: str) -> None:
    def checked() -> None:
        validate(make_config([*TINY, *overrides]))
        tiny_run(None, *overrides)

    with pytest.raises(ConfigError) as caught:
        checked()
    assert str(caught.value) == f"{overrides[0]}: {message}"


def test_out_of_memory_is_recognized() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(OSError(12, "Cannot allocate memory"))
    assert not is_out_of_memory(RuntimeError("The size of tensor a (3) must match"))
    assert not is_out_of_memory(OSError(28, "No space left on device"))


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_the_allocator_is_left_as_the_user_has_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[None] = []

    def no_library(name: None) -> None:
        opened.append(name)
        raise OSError

    monkeypatch.setattr(memory.ctypes, "CDLL", no_library)
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "1000000")
    memory.keep_freed_memory(64)
    assert opened == []
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_")
    memory.keep_freed_memory(64)
    assert opened == [None]
