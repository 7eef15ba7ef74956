"""Compare experiments with the programs that they replicate, evaluation by evaluation.

    python scripts/compare_programs.py --crowsonkb DIR --neural-style-pt DIR

DIR is the folder that the program is imported from: a checkout of its repository at github.com, or
the folder that its package from PyPI is installed in.

    --crowsonkb        github.com/crowsonkb/style-transfer-pytorch
    --gatys-notebook   github.com/leongatys/PytorchNeuralStyleTransfer
    --gordic           github.com/gordicaleksa/pytorch-neural-style-transfer
    --neural-style-pt  github.com/ProGamerGov/neural-style-pt, or neural-style from PyPI
    --pystiche         pystiche 1.0.1 from PyPI

The program's own code reads and resizes the images, evaluates and steps; only the weights are
replaced, by the same ones on both sides. Both start from the content image. Printed are relative
differences: of the total at the first evaluation, of the gradient there (by its norm), the largest
of the first five totals, and of the totals at the first step of each further level; and the sizes
and steps of the levels.
"""

import argparse
import contextlib
import functools
import importlib
import io
import json
import shutil
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
from torch import Tensor
from torchvision import models, transforms
from torchvision.models.vgg import cfgs, make_layers

from nst_exp.app.api import make_config
from nst_exp.config.schema import InputConvention
from nst_exp.core.random_weights import draw_weights
from nst_exp.images import named_images
from nst_exp.runner.module import StyleTransfer
from nst_exp.runner.run import run

EVALUATIONS = 5


class Enough(Exception):
    """Ends a program after the evaluations that are compared."""


@dataclass
class Level:
    """The evaluations at one size."""

    size: tuple[int, int]
    gradient: Tensor  # at the first one, for RGB in 0..1
    totals: list[float] = field(default_factory=list)


def add(trace: list[Level], image: Tensor, total: float, gradient: Callable[[], Tensor]) -> None:
    """Append the evaluation at an image (1, 3, H, W)."""
    size = image.shape[3], image.shape[2]
    if not trace or trace[-1].size != size:
        trace.append(Level(size, gradient().detach().clone()))
    trace[-1].totals.append(total)


@dataclass
class Case:
    """What both sides of a comparison get."""

    program: Path
    content: Path
    style: Path
    weights: Path  # of VGG-19 under torchvision's names
    work: Path  # for what the program writes
    size: int
    steps: list[int]  # of a pyramid: at the first level and at each further one
    double: bool  # in float64, so that no difference is due to rounding


@contextlib.contextmanager
def recorded(
    case: Case, to_rgb: Callable[[Tensor], Tensor], limit: int | None = EVALUATIONS
) -> Iterator[list[Level]]:
    """Record what torch's optimizers evaluate, and end the program after ``limit`` evaluations.

    ``to_rgb`` converts the gradient of the program's image to that of RGB in 0..1.
    """
    trace: list[Level] = []
    dtype = torch.float64 if case.double else torch.float32
    features = make_layers(cfgs["E"]).to(dtype)
    state = torch.load(case.weights)
    features.load_state_dict({name.removeprefix("features."): state[name] for name in state})
    vgg19 = mock.Mock(return_value=SimpleNamespace(features=features))

    def record_step(original: Callable[..., Any]) -> Callable[..., Any]:
        def step(optimizer: torch.optim.Optimizer, closure: Callable[[], Any]) -> Any:
            def evaluate() -> Any:
                result, image = closure(), optimizer.param_groups[0]["params"][0]
                total = float(torch.as_tensor(result).detach())
                add(trace, image, total, lambda: to_rgb(image.grad))
                if sum(len(level.totals) for level in trace) == limit:
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
        stack.enter_context(mock.patch.object(sys, "path", [str(case.program), *sys.path]))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.suppress(Enough))
        yield trace


def record_ours(case: Case, experiment: str, *overrides: str) -> list[Level]:
    """Run an experiment and record its evaluations."""
    trace, evaluate = list[Level](), StyleTransfer.evaluate

    def recording(module: StyleTransfer, image: Tensor) -> Any:
        losses = evaluate(module, image)
        if image.requires_grad:
            total = losses.total
            gradient = functools.partial(torch.autograd.grad, total, image, retain_graph=True)
            add(trace, image, float(total.detach()), lambda: gradient()[0])
        return losses

    exact = ["trainer.precision=64-true"]
    if not case.double:  # torch's own convolutions, as the program
        exact = ["trainer.winograd=false", "trainer.channels_last=false"]
    settings = [
        *(f"+experiment={experiment}", f"content={case.content}", f"style={case.style}"),
        *(f"size={case.size}", f"steps={EVALUATIONS}", "init=content"),
        *(f"backbone.file={case.weights}", "backbone.fallback=null"),
        *("logging.metrics=false", "logging.progress=false"),
    ]
    with mock.patch.object(StyleTransfer, "evaluate", recording):
        run(make_config([*settings, *exact, *overrides]))
    return trace


Traces = tuple[list[Level], list[Level]]


def crowsonkb(case: Case) -> Traces:
    """All levels from 128 to ``case.size``."""
    with recorded(case, lambda gradient: gradient, limit=None) as theirs:
        program = importlib.import_module("style_transfer.style_transfer").StyleTransfer()
        content, style = (Image.open(path).convert("RGB") for path in (case.content, case.style))
        numbers = {"initial_iterations": case.steps[0], "iterations": case.steps[1]}
        program.stylize(content, [style], end_scale=case.size, **numbers)
    total = sum(len(level.totals) for level in theirs)
    shares = ",".join(map(str, case.steps))
    return theirs, record_ours(case, "crowsonkb", f"steps={total}", f"resolution.shares=[{shares}]")


def gatys_notebook(case: Case) -> Traces:
    """The first evaluations of L-BFGS."""
    cells = json.loads((case.program / "NeuralStyleTransfer.ipynb").read_text("utf-8"))["cells"]
    lines = [
        line for cell in cells if cell["cell_type"] == "code" for line in [*cell["source"], "\n"]
    ]
    source = "".join(line for line in lines if not line.startswith("%"))  # no magic commands
    for folder in ("Images", "Models"):
        (case.work / folder).mkdir(exist_ok=True)
    shutil.copy(case.content, case.work / "Images" / "Tuebingen_Neckarfront.jpg")
    shutil.copy(case.style, case.work / "Images" / "vangogh_starry_night.jpg")
    blocks = enumerate((2, 2, 4, 4, 4), 1)
    names = [f"conv{block}_{i + 1}" for block, depth in blocks for i in range(depth)]
    tensors = iter(torch.load(case.weights).values())
    state = {f"{name}.{part}": next(tensors) for name in names for part in ("weight", "bias")}
    torch.save(state, case.work / "Models" / "vgg_conv.pth")
    with (
        contextlib.chdir(case.work),
        mock.patch.object(transforms, "Scale", transforms.Resize, create=True),  # its name today
        recorded(case, lambda gradient: gradient.flip(1) * 255) as theirs,
    ):
        code = source.replace("img_size = 512", f"img_size = {case.size}", 1)
        exec(code, {"imshow": mock.Mock(), "show": mock.Mock()})
    return theirs, record_ours(case, "gatys_notebook")


def gordic(case: Case) -> Traces:
    """The first evaluations of L-BFGS with its line search."""
    config = {
        **{"content_images_dir": "", "style_images_dir": "", "output_img_dir": str(case.work)},
        **{"content_img_name": str(case.content), "style_img_name": str(case.style)},
        **{"height": case.size, "content_weight": 1e5, "style_weight": 3e4, "tv_weight": 1.0},
        **{"optimizer": "lbfgs", "model": "vgg19", "init_method": "content", "saving_freq": -1},
        **{"img_format": (4, ".jpg")},
    }
    with recorded(case, lambda gradient: gradient * 255) as theirs:
        importlib.import_module("neural_style_transfer").neural_style_transfer(config)
    return theirs, record_ours(case, "gordic")


def neural_style_pt(case: Case) -> Traces:
    """The first evaluations of L-BFGS."""
    arguments = [
        *("neural_style", "-content_image", str(case.content), "-style_image", str(case.style)),
        *("-model_file", str(case.weights), "-disable_check", "-gpu", "c", "-init", "image"),
        *("-image_size", str(case.size), "-output_image", str(case.work / "out.png")),
    ]
    with (
        mock.patch.object(sys, "argv", arguments),
        recorded(case, lambda gradient: gradient.flip(1) * 255) as theirs,
    ):
        # The package on PyPI has a folder of this name, the repository a file.
        is_package = (case.program / "neural_style").is_dir()
        importlib.import_module("neural_style" + ".neural_style" * is_package).main()
    return theirs, record_ours(case, "neural_style_pt")


def pystiche(case: Case) -> Traces:
    """The first evaluations of L-BFGS, with the defaults of its command."""
    for name, urls in (("alexnet", {"alexnet": ""}), ("vgg", {"vgg19": ""})):
        # Newer releases of torchvision lack the name that pystiche imports; it is not used.
        vars(importlib.import_module(f"torchvision.models.{name}")).setdefault("model_urls", urls)
    with recorded(case, lambda gradient: gradient) as theirs:
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


PROGRAMS = {
    "crowsonkb": crowsonkb,
    "gatys-notebook": gatys_notebook,
    "gordic": gordic,
    "neural-style-pt": neural_style_pt,
    "pystiche": pystiche,
}
FLOAT32 = ["gordic", "pystiche"]  # the others run in float64


def save_weights(path: Path) -> Path:
    """Save random weights of VGG-19 under torchvision's names; maps keep the scale of the input."""
    features = make_layers(cfgs["E"])
    draw_weights(features, InputConvention.imagenet, seed=0)
    torch.save({f"features.{name}": w for name, w in features.state_dict().items()}, path)
    return path


def save_content(path: Path) -> Path:
    """Save a photograph of 1280 x 854: a packaged one, mirrored into four."""
    with Image.open(named_images()["summer_palace"]) as image:
        width, height = image.size
        large = Image.new("RGB", (2 * width, 2 * height))
        for x, part in ((0, image), (width, ImageOps.mirror(image))):
            large.paste(part, (x, 0))
            large.paste(ImageOps.flip(part), (x, height))
    large.save(path)
    return path


def describe(theirs: list[Level], ours: list[Level]) -> list[str]:
    """Return the cells of a program's row."""

    def relative(one: Tensor | float, other: Tensor | float) -> float:
        one, other = torch.as_tensor(one), torch.as_tensor(other)
        return float((one - other).norm() / one.norm())

    first, own = theirs[0], ours[0]
    same = own.size == first.size
    totals = list(zip(first.totals, own.totals, strict=False))
    later = [relative(a.totals[0], b.totals[0]) for a, b in zip(theirs, ours, strict=False)][1:]
    sizes = [", ".join(f"{level.size[0]}x{level.size[1]}" for level in t) for t in (theirs, ours)]
    steps = [", ".join(f"{len(level.totals)}" for level in t) for t in (theirs, ours)]
    return [
        f"{relative(*totals[0]):.0e}",
        f"{relative(first.gradient, own.gradient):.0e}" if same else "-",
        f"{max(relative(*pair) for pair in totals[:EVALUATIONS]):.0e}",
        ", ".join(f"{value:.0e}" for value in later) or "-",
        sizes[0] if sizes[0] == sizes[1] else f"{sizes[0]}; here {sizes[1]}",
        "-" if not later else steps[0] if steps[0] == steps[1] else f"{steps[0]}; here {steps[1]}",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each program that is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in PROGRAMS:
        parser.add_argument(f"--{name}", type=Path, metavar="DIR")
    parser.add_argument("--content", type=Path, help="default: a photograph of 1280 px")
    parser.add_argument("--style", type=Path, default=named_images()["starry_night"])
    parser.add_argument("--weights", type=Path, help="file of VGG-19; default: random weights")
    parser.add_argument("--size", type=int, default=256)
    help_steps = "of crowsonkb's first level and of each further one; its defaults are 1000 500"
    parser.add_argument("--steps", type=int, nargs=2, default=[20, 10], help=help_steps)
    given = parser.parse_args(arguments)
    columns = "objective", "gradient", "first five evaluations", "levels' starts", "sizes", "steps"
    print("|", " | ".join(["program", *columns]), "|\n|" + "---|" * (len(columns) + 1))
    for name, compare in PROGRAMS.items():
        folder = getattr(given, name.replace("-", "_"))
        if folder is None:
            print(f"{name}: skipped; --{name} DIR compares it", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory() as temporary:
            work = Path(temporary)
            content = given.content or save_content(work / "content.png")
            weights = given.weights or save_weights(work / "vgg19.pth")
            images = content.resolve(), given.style.resolve(), weights.resolve()
            case = Case(
                folder.resolve(), *images, work, given.size, given.steps, name not in FLOAT32
            )
            print("|", " | ".join([name, *describe(*compare(case))]), "|", flush=True)


if __name__ == "__main__":
    main()
