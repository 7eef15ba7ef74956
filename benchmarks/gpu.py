"""What a GPU makes of this program, in less than five minutes: ``python benchmarks/gpu.py``.

    python benchmarks/gpu.py [--device cpu] [--small] [--out outputs/gpu]

Prints the card, the time of the main job and where its image is; the time of a step at several
sizes and precisions over a bare forward and backward pass, with the peak memory beside what
nst_exp/runner/memory.py expects; a step in blocks at 8192 x 8192 pixels, and the largest size that
fits; and whether a deterministic run is the same twice. ``--small`` does all of it at sizes of a
few pixels with random weights, to test the script itself.
"""

import argparse
import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from PIL import Image, ImageOps

from nst_exp.app.api import make_config
from nst_exp.config.loss_layers import layers_read, resolve_layers
from nst_exp.core.encoder import build_encoder
from nst_exp.images import named_images
from nst_exp.runner import memory
from nst_exp.runner.evaluate import peak_memory_mb
from nst_exp.runner.module import StyleTransfer
from nst_exp.runner.result import Result
from nst_exp.runner.run import run
from nst_exp.utils.errors import NstError
from nst_exp.weights import load_weights

SIZES, LARGE = (512, 1024, 2048), (8192, 12288, 16384, 24576)
SMALL_SIZES, SMALL_LARGE = (48,), (96,)
SMALL = (
    *("backbone=squeezenet1_1", "backbone.weights=random"),
    *("size=48", "steps=4", "logging.metrics=false"),
)
BUDGET = 280  # seconds after which no larger size is tried
# trainer.precision and whether TF32 is used, by name.
PRECISIONS = {
    "float32": ("32-true", False),
    "TF32": ("32-true", True),
    "bf16-mixed": ("bf16-mixed", False),
}


class Benchmark:
    """The measurements on one device."""

    def __init__(self, device: str, small: bool, out: Path) -> None:
        self.device, self.small, self.out = torch.device(device), small, out
        shared = f"trainer.accelerator={device}", "logging.progress=false"
        self.settings = [*shared, *(SMALL if small else ())]
        self.start = time.perf_counter()

    def run(self, name: str, *overrides: str, size: int | None = None) -> Result:
        """Do a run; with ``size`` on a square image of that side."""
        settings = [*self.settings, *overrides, "overwrite=true"]
        if size is not None:
            content = self.out / "square.png"
            with Image.open(named_images()["summer_palace"]) as image:
                ImageOps.fit(image, (512, 512)).save(content)
            settings += [f"content={content}", f"size={size}"]
        return run(make_config(settings), self.out / name)

    def wait(self) -> float:
        """Return the time when the device has finished its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def peak(self) -> float:
        """Return the peak memory in GB, of the GPU or of this process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated() / 1e9
        return peak_memory_mb() / 1e3

    def forget(self) -> None:
        """Free what is cached, and count the peak from here."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def main_job(self) -> None:
        """Time a run at the defaults, metrics and files included."""
        start = self.wait()
        result = self.run("main")
        print(f"main job: {self.wait() - start:.1f} s; look at {result.path}", flush=True)

    def bare_pass(self, size: int, mixed: bool, repeats: int = 5) -> float:
        """Measure a forward and backward pass of the network as it is usually written."""
        config = make_config([*self.settings])
        settings = config.backbone
        random = "backbone.weights=random" in self.settings
        state = None if random else load_weights(settings).state_dict
        layers = layers_read(resolve_layers(config.loss, settings))
        encoder = build_encoder(settings, layers, state, channels_last=False, winograd=False)
        encoder.to(self.device)
        for module in encoder.modules():
            if isinstance(module, torch.nn.ReLU):
                module.inplace = False
        image = torch.rand(1, 3, size, size, device=self.device, requires_grad=True)
        seconds = []
        for _ in range(repeats + 2):
            image.grad, start = None, self.wait()
            with torch.autocast(self.device.type, torch.bfloat16, mixed):
                values = list(encoder(image).values())[-1]
            values.sum().backward()
            seconds.append(self.wait() - start)
        return sorted(seconds[2:])[repeats // 2]

    def steps(self, size: int, *overrides: str, count: int = 8) -> tuple[float, float]:
        """Return the seconds of a step, and the GB that the run was expected to need."""
        ends: list[float] = []
        expected: list[int] = []
        step, estimate = StyleTransfer.optimizer_step, memory.estimate

        def timed(module: StyleTransfer, *arguments: Any) -> None:
            step(module, *arguments)
            ends.append(self.wait())

        def watched(*arguments: Any) -> int:
            expected.append(estimate(*arguments))
            return expected[-1]

        with (
            mock.patch.object(StyleTransfer, "optimizer_step", timed),
            mock.patch.object(memory, "estimate", watched),
        ):
            start = self.wait()
            self.run("steps", f"steps={count}", "logging=none", *overrides, size=size)
        taken = [after - before for before, after in zip([start, *ends], ends, strict=False)]
        return sorted(taken[1:] or taken)[len(taken[1:]) // 2], expected[0] / 1e9

    def precisions(self) -> None:
        """Time steps over bare passes."""
        print("\n| size | precision | step, s | step / bare pass | peak, GB | expected, GB |")
        print("|---|---|---|---|---|---|")
        for size in SMALL_SIZES if self.small else SIZES:
            for name, (precision, tf32) in PRECISIONS.items():
                with tf32_is(tf32), self.may_fail(f"{size} px, {name}"):
                    bare = self.bare_pass(size, precision == "bf16-mixed")
                    self.forget()
                    step, expected = self.steps(
                        size, f"trainer.precision={precision}", "trainer.tile=null"
                    )
                    cells = f"{step:.3f} | {step / bare:.2f} | {self.peak():.1f} | {expected:.1f}"
                    print(f"| {size} | {name} | {cells} |", flush=True)

    def large(self) -> None:
        """Time one step in blocks at larger and larger sizes."""
        print(
            "\n| size | blocks | first step, s | peak, GB | expected, GB |\n|---|---|---|---|---|"
        )
        block = 32 if self.small else 1024
        fits = 0
        with tf32_is(True):
            for size in SMALL_LARGE if self.small else LARGE:
                start = self.wait()
                if start - self.start > BUDGET:
                    break
                self.forget()
                with self.may_fail(f"{size} px in blocks"):
                    step, expected = self.steps(
                        size, f"trainer.tile={block}", "force=true", count=1
                    )
                    cells = f"{step:.1f} | {self.peak():.1f} | {expected:.1f}"
                    print(f"| {size} | {block} | {cells} |", flush=True)
                    fits = size
                if fits != size:
                    break
        print(f"largest size of these that fits: {fits}")

    def deterministic(self) -> None:
        """Do a deterministic run twice."""
        overrides = "trainer.deterministic=true", "steps=4"
        images = [self.run(name, *overrides, size=96).image.tobytes() for name in ("one", "two")]
        print(f"\ndeterministic, twice: {'the same' if len(set(images)) == 1 else 'DIFFERENT'}")

    @contextmanager
    def may_fail(self, what: str) -> Iterator[None]:
        """Print a failure, such as too little memory, and go on."""
        try:
            yield
        except (NstError, RuntimeError) as error:
            print(f"{what}: {str(error).splitlines()[0][:150]}", flush=True)


@contextmanager
def tf32_is(enabled: bool) -> Iterator[None]:
    """Allow or forbid TF32 in convolutions and products."""
    places: Any = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = enabled
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.allow_tf32 = value


def main(arguments: list[str] | None = None) -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("outputs/gpu"))
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: --device=cuda: no GPU on this machine; use --device cpu --small")
    given.out.mkdir(parents=True, exist_ok=True)
    benchmark = Benchmark(given.device, given.small, given.out)
    card = torch.cuda.get_device_name() if given.device == "cuda" else "CPU"
    print(f"{card}, torch {torch.__version__}")
    parts: list[Callable[[], None]] = [
        *(benchmark.main_job, benchmark.precisions, benchmark.deterministic, benchmark.large)
    ]
    for part in parts:
        part()
    print(f"\n{time.perf_counter() - benchmark.start:.0f} s in all")


if __name__ == "__main__":
    main()
