"""What a step of a real run costs, over the bare network's forward and backward pass.

    python benchmarks/step.py [--sizes 256 512] [--steps 25] [--with KEY=VALUE ...]

The numerator is the median time between two steps of a complete run at the defaults (L-BFGS with
line search, Fourier coefficients, losses, TensorBoard, progress), read from the run's own
TensorBoard points. The denominator is the median of a forward and backward pass through the same
trunk as style transfer is usually written: channels first, torch's own convolutions, the ReLUs out
of place so that any layer may be read, frozen weights, the allocator as it comes; no losses, no
optimizer. Both in one process and on a square image; the bare passes first, since a run changes
the allocator permanently. Run it on a quiet machine, and twice: machines drift.

``--with`` adds a line for each of these settings: a step with it over a step at the defaults.
``--evaluations`` prints what an evaluation with each of its settings takes over one with the
default loss instead: all take turns, so that other work on the machine slows all of them alike.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from PIL import Image, ImageOps
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nst_exp.app.api import make_config
from nst_exp.config.pyramid import levels_of
from nst_exp.core.encoder import build_encoder
from nst_exp.images import named_images
from nst_exp.results.record import Record
from nst_exp.runner.inputs import load_inputs
from nst_exp.runner.level import build_module
from nst_exp.runner.network import make_network
from nst_exp.runner.run import run
from nst_exp.weights import load_weights


def bare_pass(size: int, repeats: int = 15) -> float:
    """Median seconds of a forward and backward pass."""
    config = make_config()
    weights = load_weights(config.backbone)
    layers = [*config.backbone.content_layers, *config.backbone.style_layers]
    backbone = build_encoder(
        config.backbone, layers, weights.state_dict, channels_last=False, winograd=False
    )
    for module in backbone.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    image = torch.rand(1, 3, size, size, requires_grad=True)
    seconds = []
    for _ in range(repeats + 2):
        image.grad = None
        start = time.perf_counter()
        backbone(image)["relu5_1"].sum().backward()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[2:])


def real_step(size: int, steps: int, *others: str) -> float:
    """Median seconds between two steps of a run."""
    with tempfile.TemporaryDirectory() as folder:
        content = Path(folder) / "square.png"
        ImageOps.fit(Image.open(named_images()["summer_palace"]), (size, size)).save(content)
        overrides = [
            f"content={content}",
            f"size={size}",
            f"steps={steps}",
            "logging.metrics=false",
            "logging.progress=false",
            *others,
        ]
        run(make_config(overrides), Path(folder) / "run")
        events = EventAccumulator(f"{folder}/run", {"scalars": 0}).Reload()
        times = [event.wall_time for event in events.Scalars("loss/total")]
    # The first steps still find the length of the step and fill the L-BFGS history.
    return float(statistics.median([after - before for before, after in pairwise(times)][3:]))


def evaluation_ratios(size: int, settings: Sequence[str], rounds: int) -> dict[str, float]:
    """Median seconds of an evaluation with each setting over those at the defaults."""
    modules = {}
    for setting in ("loss=default", *settings):
        config = make_config([f"size={size}", "logging.progress=false", setting])
        inputs = load_inputs(config)
        network = make_network(config, inputs, Record(None, config, overrides=[]))
        level = levels_of(config)[-1]
        modules[setting] = build_module(level, config, inputs, network, None, torch.device("cpu"))
    seconds: dict[str, list[float]] = {setting: [] for setting in modules}
    for _ in range(rounds + 1):
        for setting, module in modules.items():
            start = time.perf_counter()
            total = module.evaluate(module.parameter()).total
            total.backward()  # type: ignore[no-untyped-call]
            seconds[setting].append(time.perf_counter() - start)
    medians = {setting: statistics.median(found[1:]) for setting, found in seconds.items()}
    return {setting: median / medians["loss=default"] for setting, median in medians.items()}


def main() -> None:
    """Print a line per size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--with", nargs="+", default=[], dest="others", metavar="KEY=VALUE")
    parser.add_argument("--evaluations", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.evaluations:
        for size in arguments.sizes:
            found = evaluation_ratios(size, arguments.evaluations, arguments.rounds)
            for setting, ratio in found.items():
                print(f"{size} px: {setting}: {ratio:.2f} of an evaluation", flush=True)
        return
    bare = {size: bare_pass(size) for size in arguments.sizes}
    for size in arguments.sizes:
        step = real_step(size, arguments.steps)
        ratio = step / bare[size]
        print(f"{size} px: step {step:.2f} s, bare pass {bare[size]:.2f} s, ratio {ratio:.2f}")
        for other in arguments.others:
            print(f"    {other}: {real_step(size, arguments.steps, other) / step:.2f} of a step")


if __name__ == "__main__":
    main()
