"""Compare experiments with the programs that they replicate, evaluation by evaluation.

    python scripts/compare_programs.py --crowsonkb DIR --neural-style-pt DIR

DIR is the folder that the program is imported from: a checkout of its repository at github.com, or
the folder that its package from PyPI is installed in.

    --crowsonkb        github.com/crowsonkb/style-transfer-pytorch
    --neural-style-pt  github.com/ProGamerGov/neural-style-pt, or neural-style from PyPI
    --gordic           github.com/gordicaleksa/pytorch-neural-style-transfer
    --pystiche         pystiche 1.0.1 from PyPI

The program's own code reads and resizes the images, evaluates and steps; only its weights are
replaced. Both sides start from the content image. Printed are relative differences: of the total at
the first evaluation, of the gradient there (by its norm), the largest among the totals of the first
five evaluations and among those at the first step of each level, and whether the sizes and the
steps of all levels are the same.

Without files, VGG-19 gets the weights of Oxford's VGG-16, and the identity for the three
convolutions that VGG-16 lacks: its maps are those of VGG-16.
"""

import argparse
import contextlib
import functools
import importlib
import io
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torchvision import models
from torchvision.models.vgg import cfgs, make_layers

from nst_exp.app.api import make_config
from nst_exp.core.preprocessing import IMAGENET_STD
from nst_exp.images import named_images
from nst_exp.runner.module import StyleTransfer
from nst_exp.runner.run import run
from nst_exp.weights import load_weights

EVALUATIONS = 5


class Enough(Exception):
    """Ends a program after the evaluations that are compared."""


@dataclass
class Level:
    """The evaluations at one size."""

    size: tuple[int, int]
    gradient: Tensor  # at the first one, for RGB in 0..1
    totals: list[float] = field(default_factory=list)


@dataclass
class Trace:
    """The evaluations of one run."""

    levels: list[Level] = field(default_factory=list)

    def add(self, image: Tensor, total: float, gradient: Callable[[], Tensor]) -> None:
        """Append the evaluation at an image (1, 3, H, W)."""
        size = image.shape[3], image.shape[2]
        if not self.levels or self.levels[-1].size != size:
            self.levels.append(Level(size, gradient().detach().clone()))
        self.levels[-1].totals.append(total)


@dataclass
class Case:
    """The files and numbers that both sides of a comparison get."""

    folder: Path  # of the program
    content: Path
    style: Path
    weights: Path  # of VGG-19 under torchvision's names
    work: Path  # for what the program writes
    size: int
    steps: list[int]  # at the first level and at each later one
    double: bool = True  # in float64, so that no difference is due to rounding


@contextlib.contextmanager
def recorded_program(
    case: Case, to_rgb: Callable[[Tensor], Tensor], limit: int | None = EVALUATIONS
) -> Iterator[Trace]:
    """Record what torch's optimizers evaluate, and end the program after ``limit`` evaluations.

    ``to_rgb`` converts the gradient of the program's image to that of RGB in 0..1.
    """
    trace, count = Trace(), 0
    dtype = torch.float64 if case.double else torch.float32
    features = make_layers(cfgs["E"]).to(dtype)
    features.load_state_dict(
        {name.removeprefix("features."): w for name, w in torch.load(case.weights).items()}
    )
    vgg19 = mock.Mock(return_value=SimpleNamespace(features=features))

    def record_step(original: Callable[..., Any]) -> Callable[..., Any]:
        def step(optimizer: torch.optim.Optimizer, closure: Callable[[], Any]) -> Any:
            def evaluate() -> Any:
                nonlocal count
                result, image = closure(), optimizer.param_groups[0]["params"][0]
                total = float(torch.as_tensor(result).detach())
                trace.add(image, total, lambda: to_rgb(image.grad))
                count += 1
                if count == limit:
                    raise Enough
                return result

            return original(optimizer, evaluate)

        return step

    with contextlib.ExitStack() as stack:
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        torch.set_default_dtype(dtype)
        if case.double:
            stack.enter_context(mock.patch.object(torch, "FloatTensor", torch.DoubleTensor))
        for optimizer in (torch.optim.Adam, torch.optim.LBFGS):
            stack.enter_context(mock.patch.object(optimizer, "step", record_step(optimizer.step)))
        stack.enter_context(mock.patch.object(models, "vgg19", vgg19))
        stack.enter_context(mock.patch.object(sys, "path", [str(case.folder), *sys.path]))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.suppress(Enough))
        yield trace


def record_ours(case: Case, experiment: str, *overrides: str) -> Trace:
    """Run an experiment and record its evaluations."""
    trace, evaluate = Trace(), StyleTransfer.evaluate
    precision = "64-true" if case.double else "32-true"

    def recording(module: StyleTransfer, image: Tensor) -> Any:
        losses = evaluate(module, image)
        if image.requires_grad:
            total = losses.total
            gradient = functools.partial(torch.autograd.grad, total, image, retain_graph=True)
            trace.add(image, float(total.detach()), lambda: gradient()[0])
        return losses

    config = make_config(
        [
            *(f"+experiment={experiment}", f"content={case.content}", f"style={case.style}"),
            *(f"backbone.file={case.weights}", "backbone.fallback=null", "init=content"),
            *("logging.metrics=false", "logging.progress=false", f"size={case.size}"),
            f"trainer.precision={precision}",
            *(overrides or [f"steps={EVALUATIONS}"]),
        ]
    )
    with mock.patch.object(StyleTransfer, "evaluate", recording):
        run(config)
    return trace


def crowsonkb(case: Case) -> tuple[Trace, Trace]:
    """All levels from 128 to ``case.size``."""
    with recorded_program(case, lambda gradient: gradient, limit=None) as theirs:
        program = importlib.import_module("style_transfer.style_transfer").StyleTransfer()
        images = [Image.open(path).convert("RGB") for path in (case.content, case.style)]
        first, later = case.steps
        program.stylize(
            *(images[0], images[1:]),
            **{"end_scale": case.size, "initial_iterations": first, "iterations": later},
        )
    total = sum(len(level.totals) for level in theirs.levels)
    shares = ",".join(map(str, case.steps))
    return theirs, record_ours(case, "crowsonkb", f"steps={total}", f"resolution.shares=[{shares}]")


def neural_style_pt(case: Case) -> tuple[Trace, Trace]:
    """The first evaluations of L-BFGS."""
    arguments = [
        *("neural_style", "-content_image", str(case.content), "-style_image", str(case.style)),
        *("-model_file", str(case.weights), "-disable_check", "-gpu", "c", "-init", "image"),
        *("-image_size", str(case.size), "-output_image", str(case.work / "out.png")),
    ]
    with (
        mock.patch.object(sys, "argv", arguments),
        recorded_program(case, lambda gradient: gradient.flip(1) * 255) as theirs,
    ):
        # The package on PyPI has a folder of this name, the repository a file.
        is_package = (case.folder / "neural_style").is_dir()
        importlib.import_module("neural_style" + ".neural_style" * is_package).main()
    return theirs, record_ours(case, "neural_style_pt")


def gordic(case: Case) -> tuple[Trace, Trace]:
    """The first evaluations of L-BFGS with its line search."""
    config = {
        **{"content_images_dir": "", "style_images_dir": "", "output_img_dir": str(case.work)},
        **{"content_img_name": str(case.content), "style_img_name": str(case.style)},
        **{"height": case.size, "content_weight": 1e5, "style_weight": 3e4, "tv_weight": 1.0},
        **{"optimizer": "lbfgs", "model": "vgg19", "init_method": "content", "saving_freq": -1},
        **{"img_format": (4, ".jpg")},
    }
    with recorded_program(case, lambda gradient: gradient * 255) as theirs:
        importlib.import_module("neural_style_transfer").neural_style_transfer(config)
    return theirs, record_ours(case, "gordic")


def pystiche(case: Case) -> tuple[Trace, Trace]:
    """The first evaluations of L-BFGS; the losses are those of its command's defaults."""
    for name, urls in (("alexnet", {"alexnet": ""}), ("vgg", {"vgg19": ""})):
        # Newer releases of torchvision lack the name that pystiche imports; it is not used.
        vars(importlib.import_module(f"torchvision.models.{name}")).setdefault("model_urls", urls)
    with recorded_program(case, lambda gradient: gradient) as theirs:
        enc, loss, optim, data = (
            importlib.import_module(f"pystiche.{name}") for name in ("enc", "loss", "optim", "data")
        )
        encoder = enc.vgg19_multi_layer_encoder(pretrained=False)
        criterion = loss.PerceptualLoss(
            loss.FeatureReconstructionLoss(encoder.extract_encoder("relu4_2"), score_weight=1.0),
            loss.MultiLayerEncodingLoss(
                encoder,
                [f"relu{block}_1" for block in range(1, 6)],
                lambda encoder, layer_weight: loss.GramLoss(encoder, score_weight=layer_weight),
                score_weight=1e3,
            ),
        )
        content, style = (
            data.LocalImage(str(path)).read(size=case.size) for path in (case.content, case.style)
        )
        criterion.set_content_image(content)
        criterion.set_style_image(style)
        optim.image_optimization(content.clone(), criterion, quiet=True)
    return theirs, record_ours(case, "pystiche")


@dataclass(frozen=True)
class Program:
    """How a program is compared."""

    compare: Callable[[Case], tuple[Trace, Trace]]
    caffe: bool  # whether it is made for Caffe's weights, or else for torchvision's
    double: bool = True  # whether it can run in float64


PROGRAMS = {
    "crowsonkb": Program(crowsonkb, caffe=False),
    "neural-style-pt": Program(neural_style_pt, caffe=True),
    "gordic": Program(gordic, caffe=False, double=False),
    "pystiche": Program(pystiche, caffe=False),
}


def substitute_weights(caffe: bool) -> dict[str, Tensor]:
    """Return VGG-16's weights for VGG-19, on the scale of Caffe's or of torchvision's input."""
    vgg16 = load_weights(make_config(["backbone=vgg16"]).backbone).state_dict
    convolutions = [name for name in vgg16 if name.startswith("features.") and "weight" in name]
    known = iter(sorted(convolutions, key=lambda name: int(name.split(".")[1])))
    state: dict[str, Tensor] = {}
    layers = [i for i, m in enumerate(make_layers(cfgs["E"])) if isinstance(m, nn.Conv2d)]
    for number, index in enumerate(layers):
        if number in (7, 11, 15):  # conv3_4, conv4_4, conv5_4
            weight = torch.zeros_like(state[f"features.{index - 2}.weight"])
            weight = nn.init.dirac_(torch.empty(weight.shape[0], weight.shape[0], 3, 3))
            bias = torch.zeros(weight.shape[0])
        else:
            name = next(known)
            weight, bias = vgg16[name], vgg16[name.replace("weight", "bias")]
        state |= {f"features.{index}.weight": weight, f"features.{index}.bias": bias}
    if not caffe:
        scale = 255.0 * sum(IMAGENET_STD) / 3
        deviations = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
        first = state["features.0.weight"].flip(1)  # BGR in 0..255 to normalized RGB
        state["features.0.weight"] = first * (255.0 * deviations / scale)
        state |= {name: b / scale for name, b in state.items() if name.endswith("bias")}
    return state


def substitute_content(path: Path) -> None:
    """Write a photograph of 1280 x 854: a packaged one, mirrored into four."""
    with Image.open(named_images()["summer_palace"]) as image:
        width, height = image.size
        large = Image.new("RGB", (2 * width, 2 * height))
        for corner, part in (((0, 0), image), ((width, 0), ImageOps.mirror(image))):
            large.paste(part, corner)
            large.paste(ImageOps.flip(part), (corner[0], height))
    large.save(path)


def relative(theirs: float, ours: float) -> float:
    """Return the difference relative to the program's value."""
    return abs(ours - theirs) / abs(theirs)


def describe(theirs: Trace, ours: Trace) -> list[str]:
    """Return the cells of a row: objective, gradient, first evaluations, first steps, levels."""
    ours.levels[0].totals = ours.levels[0].totals[: len(theirs.levels[0].totals)]
    first, own = theirs.levels[0], ours.levels[0]
    sizes = [[f"{w}x{h}" for w, h in (level.size for level in t.levels)] for t in (theirs, ours)]
    steps = [[len(level.totals) for level in t.levels] for t in (theirs, ours)]
    cells = [f"{relative(first.totals[0], own.totals[0]):.1e}"]
    if first.size == own.size:
        difference = torch.linalg.vector_norm(own.gradient - first.gradient)
        cells.append(f"{float(difference / torch.linalg.vector_norm(first.gradient)):.1e}")
    else:
        cells.append("-")
    pairs = zip(first.totals[:EVALUATIONS], own.totals[:EVALUATIONS], strict=True)
    cells.append(f"{max(relative(*pair) for pair in pairs):.1e}")
    later = [
        relative(a.totals[0], b.totals[0])
        for a, b in zip(theirs.levels[1:], ours.levels[1:], strict=False)
    ]
    cells.append(", ".join(f"{value:.1e}" for value in later) or "-")
    cells.append("equal: " + ", ".join(sizes[0]) if sizes[0] == sizes[1] else f"{sizes}")
    cells.append("equal: " + ", ".join(map(str, steps[0])) if steps[0] == steps[1] else f"{steps}")
    return cells


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each program that is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in PROGRAMS:
        parser.add_argument(f"--{name}", type=Path, metavar="DIR")
    parser.add_argument("--content", type=Path, help="photograph, here 1280 px wide")
    parser.add_argument("--style", type=Path, default=named_images()["starry_night"])
    parser.add_argument("--caffe", type=Path, help="file with Caffe's VGG-19")
    parser.add_argument("--torchvision", type=Path, help="file with torchvision's VGG-19")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument(
        "--steps",
        type=int,
        nargs=2,
        default=[20, 10],
        help="crowsonkb's at the first level and at each later one; its own are 1000 500",
    )
    given = parser.parse_args(arguments)
    print("| program | objective | gradient | five evaluations | first steps | sizes | steps |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if given.content is None:
            substitute_content(work / "content.png")
        for name, program in PROGRAMS.items():
            place = getattr(given, name.replace("-", "_"))
            if place is None:
                print(f"{name}: skipped; --{name} DIR compares it", file=sys.stderr)
                continue
            weights = given.caffe if program.caffe else given.torchvision
            if weights is None:
                weights = work / "vgg19.pth"
                torch.save(substitute_weights(program.caffe), weights)
            content = given.content or work / "content.png"
            case = Case(
                *(place, content, given.style, weights, work, given.size, given.steps),
                double=program.double,
            )
            print("|", " | ".join([name, *describe(*program.compare(case))]), "|", flush=True)


if __name__ == "__main__":
    main()
