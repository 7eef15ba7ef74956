"""What a run needs of memory, what there is, and what is said when it does not do."""

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
from nst_exp.runner import memory as memory_need
from nst_exp.runner.memory import available, estimate, is_out_of_memory, memory_errors, remedies
from nst_exp.runner.module import StyleTransfer
from nst_exp.runner.run import run
from nst_exp.utils.errors import ConfigError, NumericalError

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@pytest.fixture(scope="module")
def backbone() -> Encoder:
    config = make_config(TINY).backbone
    layers = [*config.content_layers, *config.style_layers]
    return build_encoder(config, list(dict.fromkeys(layers)), None)


def needs(backbone: Encoder, side: int, *overrides: str) -> int:
    config = make_config([*TINY, "steps=500", *overrides])
    return estimate(backbone, config, (side, side), (side, side))


def test_need_grows_with_the_pixels(backbone: Encoder) -> None:
    small, large = needs(backbone, 256), needs(backbone, 512)
    # Maps are cut off a little at every stage, by less the larger they are.
    assert large == pytest.approx(4 * small, rel=0.05)


def test_need_of_the_history_is_that_of_its_images(backbone: Encoder) -> None:
    short, long = (needs(backbone, 256, f"optimizer.history={n}") for n in (10, 100))
    images = (long - short) / (256 * 256 * 12)  # of three float32 per pixel
    assert 2 * 90 <= images <= 4 * 90  # two per step, and what the heap makes of them
    assert needs(backbone, 256, "optimizer=adam") < short
    few = estimate(backbone, make_config([*TINY, "steps=10"]), (256, 256), (256, 256))
    assert few == short  # there are no more steps to remember


def test_need_counts_every_map_of_a_chain() -> None:
    """A network whose maps can be counted on paper."""
    net = Encoder.__new__(Encoder)
    torch.nn.Module.__init__(net)
    net.trunk = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Tanh(), torch.nn.Conv2d(8, 4, 1)
    ).requires_grad_(False)
    net.forward = lambda image: {"last": net.trunk(image)}  # type: ignore[method-assign]
    saved, read, _ = memory_need._maps(net, 20, 10)
    # Kept: what goes into each convolution, which is what Tanh gave for the second, and the last
    # map, which the loss reads.
    assert (saved, read) == (200 * 4 * (3 + 8 + 4), 200 * 4 * 4)


def test_a_larger_style_picture_needs_more(backbone: Encoder) -> None:
    config = make_config(TINY)
    picture = (256, 256)
    assert estimate(backbone, config, picture, (2048, 2048)) > 3 * estimate(
        backbone, config, picture, picture
    )


@LINUX
@pytest.mark.slow
def test_estimate_is_near_what_a_run_takes() -> None:
    """benchmarks/memory.py has other networks; one process must do here."""
    took, expected = measurements.measure("backbone=squeezenet1_1 size=640 steps=4")
    assert expected == pytest.approx(took, rel=0.35)


@LINUX
def test_what_is_free_is_of_this_machine() -> None:
    free = available()
    assert free is not None
    lines = Path("/proc/meminfo").read_text().splitlines()
    total = int(next(line for line in lines if line.startswith("MemTotal")).split()[1]) * 1024
    assert 2**20 < free <= total


def test_limits_of_containers_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = tmp_path / "outer" / "inner"
    group.mkdir(parents=True)
    for folder, limit, used in ((tmp_path / "outer", "9000", 4000), (group, "max", 3000)):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text("anon 5\ninactive_file 500\nactive_file 7\n")
    read = Path.read_text

    def read_text(path: Path, *rest: str, **more: str) -> str:
        if path == Path("/proc/self/cgroup"):
            return "0::/outer/inner\n"
        return read(path, *rest, **more)

    monkeypatch.setattr(Path, "read_text", read_text)
    # What the cache holds is given back when it is needed.
    assert list(memory_need._of_groups(tmp_path)) == [9000 - 4000 + 500]


def test_too_little_memory_is_said_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_need, "available", lambda: 10**6)
    result = tiny_run(tmp_path, "steps=1")
    (line,) = result.record["warnings"]
    assert line.startswith("size=48: 48x32 pixels need about 0.0 GB of memory, and 0.0 GB are free")
    assert line.endswith("lower size (now 48) or optimizer.history (now 50), or use optimizer=adam")
    monkeypatch.setattr(memory_need, "available", lambda: None)  # not Linux
    assert tiny_run(tmp_path / "other", "steps=1").record["warnings"] == []


def test_remedies_are_keys_that_the_run_has() -> None:
    assert remedies(make_config([*TINY, "optimizer=adam"])) == "lower size (now 48)"
    double = make_config([*TINY, "optimizer=adam", "trainer.precision=64-true"])
    assert remedies(double).endswith("or trainer.precision=32-true")


def test_torch_really_says_it_so() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**58)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(OSError(12, "Cannot allocate memory"))
    assert not is_out_of_memory(RuntimeError("The size of tensor a (3) must match"))
    assert not is_out_of_memory(OSError(28, "No space left on device"))


def test_out_of_memory_is_one_line_and_foreseen_errors_stay() -> None:
    config = make_config(TINY)
    line = r"^size=48: out of memory; lower size \(now 48\)"
    with pytest.raises(ConfigError, match=line), memory_errors(config):
        torch.empty(2**58)
    with pytest.raises(NumericalError, match="out of memory"), memory_errors(config):
        raise NumericalError("out of memory")
    with pytest.raises(RuntimeError, match="something else"), memory_errors(config):
        raise RuntimeError("something else")


def test_run_that_memory_ends_keeps_its_best_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As L-BFGS's history grows, memory may end in the middle of a run."""
    step = StyleTransfer.training_step

    def training_step(module: StyleTransfer, *rest: int) -> torch.Tensor:
        if module.evaluations == 4:
            torch.empty(2**58)
        return step(module, *rest)

    monkeypatch.setattr(StyleTransfer, "training_step", training_step)
    with pytest.raises(ConfigError, match=r"out of memory; .*; the best image is .*image\.png$"):
        run(make_config(TINY), tmp_path, lambda line: None)
    record = json.loads((tmp_path / "result.json").read_text())
    assert record["status"] == "failed"
    assert "out of memory" in record["error"]
    assert pixels(tmp_path / "image.png").shape == (32, 48, 3)
