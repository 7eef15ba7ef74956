"""What runs take and what nst_exp/runner/memory.py expects: ``python benchmarks/memory.py``.

Each run is a process of its own, whose peak is read from Linux beside what its network takes.
"""

import ctypes
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

PAPERS = (
    "crowsonkb",
    "galerne2024_spst",
    "li2017_demystifying",
    "novak2016",
    "risser2017",
    "li2017_lapstyle",
    "li2016_cnnmrf",
    "heitz2021",
    "kolkin2019_strotss",
    "kolkin2022_nnst",
)
RUNS = (
    "backbone=vgg16 size=128 steps=3",
    "backbone=vgg16 size=256 steps=3",
    "backbone=vgg16 size=512 steps=3",
    "backbone=vgg16 size=256 steps=40",
    "backbone=vgg16 size=512 steps=3 optimizer=adam",
    "backbone=vgg16 size=512 steps=3 trainer.channels_last=false",
    "backbone=vgg16 size=384 steps=3 trainer.precision=bf16-mixed",
    "backbone=vgg16 size=256 steps=2 trainer.precision=64-true",
    "backbone=vgg16 size=256 steps=3 resolution.style_scale=3",
    "backbone=vgg16 size=128 steps=2 resolution.style_scale=8",
    "backbone=resnet50 size=64 steps=2 resolution.style_scale=16",
    "backbone=vgg19 size=384 steps=3",
    "backbone=squeezenet1_1 size=512 steps=3",
    "backbone=squeezenet1_1 size=1024 steps=3",
    "backbone=squeezenet1_1 size=512 steps=60",
    "backbone=resnet50 size=512 steps=3",
    *(f"backbone=vgg16 size={size} steps=2 loss={loss}" for size in (256, 512) for loss in PAPERS),
)
COMMON = (
    "content=chelsea",
    "style=starry_night",
    "backbone.weights=random",
    "logging.progress=false",
    "logging.metrics=false",
    "trainer.accelerator=cpu",
    "trainer.threads=1",
)


def measure(overrides: str) -> tuple[int, int]:
    """Bytes that a run took beside its network, and that were expected; in a new process."""
    done = subprocess.run(
        [sys.executable, __file__, *overrides.split()],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    took, expected = json.loads(done.stdout.splitlines()[-1])
    return took, expected


def status(name: str) -> int:
    """A number of bytes in Linux's account of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def _run(overrides: list[str]) -> tuple[int, int]:
    """What ``measure`` returns, of a run in this process."""
    from nst_exp.app.api import make_config
    from nst_exp.runner import memory
    from nst_exp.runner.network import make_network
    from nst_exp.runner.run import run

    seen: dict[str, int] = {}
    estimate = memory.estimate

    def watch_estimate(*arguments: Any) -> int:
        seen["expected"] = estimate(*arguments)
        return seen["expected"]

    def watch_network(*arguments: Any) -> Any:
        network = make_network(*arguments)
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what making the network has left
        seen["before"] = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        return network

    with (
        patch.object(memory, "estimate", watch_estimate),
        patch("nst_exp.runner.run.make_network", watch_network),
    ):
        run(make_config([*COMMON, *overrides]))
    return status("VmHWM") - seen["before"], seen["expected"]


def main() -> None:
    """Print a line for each of RUNS, or measure the run of these arguments."""
    if len(sys.argv) > 1:
        print(json.dumps(_run(sys.argv[1:])))
        return
    for overrides in RUNS:
        took, expected = measure(overrides)
        share = 100 * (expected / took - 1)
        print(
            f"{overrides:60} took {took / 1e6:5.0f} MB, expected {expected / 1e6:5.0f} "
            f"({share:+.0f} %)",
            flush=True,
        )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
