"""What a step of a real run costs, over the bare network's forward and backward pass.

    python benchmarks/step.py [--sizes 256 512] [--steps 20]

The numerator is the median time between two steps of a complete run at the defaults (L-BFGS with
line search, Fourier coefficients, losses, TensorBoard, progress), read from the run's own
TensorBoard points. The denominator is the median of a forward and backward pass through the same
trunk as torchvision stores it (channels first), before the allocator is told to keep memory. Both
in one process, the bare passes first. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nst_exp.api import make_config
from nst_exp.backbones import build_backbone
from nst_exp.inputs import content_dimensions, load_inputs
from nst_exp.run import run
from nst_exp.weights import load_weights


def bare_pass(size: int, repeats: int) -> float:
    """Median seconds of a forward and backward pass at the run's picture size."""
    config = make_config([f"size={size}"])
    width, height = content_dimensions(config, load_inputs(config, print), size)
    weights = load_weights(config.backbone, report=print)
    layers = [*config.backbone.content_layers, *config.backbone.style_layers]
    backbone = build_backbone(config.backbone, layers, weights.state_dict, channels_last=False)
    image = torch.rand(1, 3, height, width, requires_grad=True)
    seconds = []
    for _ in range(repeats + 2):
        image.grad = None
        start = time.perf_counter()
        backbone(image)["relu5_1"].sum().backward()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[2:])


def real_step(size: int, steps: int) -> float:
    """Median seconds between two steps of a run."""
    with tempfile.TemporaryDirectory() as folder:
        run(make_config([f"size={size}", f"steps={steps}"]), Path(folder), lambda line: None)
        events = EventAccumulator(folder, {"scalars": 0}).Reload()
        times = [event.wall_time for event in events.Scalars("loss/total")]
    # The first steps still find the length of the step and fill the L-BFGS history.
    gaps = [after - before for before, after in zip(times, times[1:], strict=False)][3:]
    return float(statistics.median(gaps))


def main() -> None:
    """Print a line per size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    bare = {size: bare_pass(size, 7) for size in arguments.sizes}
    for size in arguments.sizes:
        step = real_step(size, arguments.steps)
        print(
            f"{size} px: step {step:.2f} s, bare pass {bare[size]:.2f} s, "
            f"ratio {step / bare[size]:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
