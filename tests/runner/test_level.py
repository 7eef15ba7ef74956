"""A level that starts from the one before."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from helpers_core import cubic, linear, resampled
from helpers_run import TINY, picture, tiny_run
from torch import Tensor

from nst_exp.app.api import make_config
from nst_exp.config.pyramid import build_levels
from nst_exp.results.record import Record
from nst_exp.runner.inputs import load_inputs
from nst_exp.runner.level import build_module
from nst_exp.runner.module import StyleTransfer
from nst_exp.runner.network import make_network
from nst_exp.runner.trainer import make_trainer

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")
SIZES, STEPS, DECAY, LR, EPS = [40, 52, 64], 4, 0.9, 0.02, 1e-20
PYRAMID = [
    *("resolution=pyramid", f"resolution.sizes={SIZES}", f"size={SIZES[-1]}"),
    *(f"steps={3 * STEPS}", "resolution.shares=[1]", f"resolution.averaging={DECAY}"),
    *("optimizer=adam", f"optimizer.lr={LR}", "optimizer.parametrization.pixel_scale=1"),
    f"optimizer.eps={EPS}",  # so that the scale of the loss does not count
]


def plain_adam(modules: list[StyleTransfer]) -> list[Tensor]:
    """The average of each level by torch's Adam; from level to level as crowsonkb's program."""
    image, state, averages = modules[0].start, None, []
    for module in modules:
        height, width = module.start.shape[2:]
        if state is not None:
            image = resampled(averages[-1], height, width, cubic).clamp(0, 1)
        image = image.detach().clone().requires_grad_()
        optimizer = torch.optim.Adam([image], lr=LR, eps=EPS)
        if state is not None:
            for name, kernel in (("exp_avg", cubic), ("exp_avg_sq", linear)):
                state[name] = resampled(state[name], height, width, kernel)
            optimizer.state[image] = state
        average, weight = (1 - DECAY) * image.detach(), DECAY
        for _ in range(STEPS):
            optimizer.zero_grad()
            module.evaluate(image).total.backward()
            optimizer.step()
            with torch.no_grad():
                image.clamp_(0, 1)
            average, weight = DECAY * average + (1 - DECAY) * image.detach(), DECAY * weight
        state = optimizer.state[image]
        averages.append(average / (1 - weight))
    return averages


@pytest.mark.parametrize(("details", "levels"), [("none", ()), ("between", (1,)), ("all", (1, 2))])
def test_later_levels_start_with_the_details_of_the_content(
    details: str, levels: tuple[int, ...]
) -> None:
    settings = [*TINY, *PYRAMID[:3], "init=noise", f"resolution.details={details}"]
    config = make_config(settings)
    inputs = load_inputs(config)
    network = make_network(config, inputs, Record(None, config))
    before = None
    for level in build_levels(config.resolution, config.size, config.steps):
        content = inputs.tensors(level.size)[0]
        height, width = content.shape[2:]
        module = build_module(level, config, inputs, network, before, torch.device("cpu"))
        if before is not None:
            expected = resampled(before.result_image(), height, width, cubic).clamp(0, 1)
            if level.index in levels:
                coarse = resampled(content, height // 2, width // 2, linear)
                expected = expected + content - resampled(coarse, height, width, linear)
            # float32; the smaller of two sizes need not be a whole fraction of the other
            torch.testing.assert_close(module.image(), expected, rtol=0, atol=1e-5)
        before = module


def test_levels_follow_plain_adam_of_the_unscaled_loss() -> None:
    """In float64, over three levels whose losses differ: start, moments, their unit, averages."""
    config = make_config([*TINY, *PYRAMID, "trainer.precision=64-true"])
    inputs = load_inputs(config)
    network = make_network(config, inputs, Record(None, config))
    modules: list[StyleTransfer] = []
    for level in build_levels(config.resolution, config.size, config.steps):
        before = modules[-1] if modules else None
        module = build_module(level, config, inputs, network, before, torch.device("cpu"))
        module.start = module.image()
        make_trainer(config.trainer, level.steps, []).fit(module)
        modules.append(module)
    totals = [module.start_total for module in modules]
    assert all(abs(one / other - 1) > 0.1 for one, other in pairwise(totals))
    for module, expected in zip(modules, plain_adam(modules), strict=True):
        found = module.result_image()
        # Images are handed over in float32, and Adam's first step has the sign of the gradient.
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_levels_between_the_ends_start_with_the_details_of_the_content() -> None:
    """What the content loses at half the size, on the enlarged result."""
    config = make_config([*TINY, *PYRAMID[:3], "steps=3", "resolution.details=between"])
    inputs = load_inputs(config)
    network = make_network(config, inputs, Record(None, config))
    before, added = None, []
    for level in build_levels(config.resolution, config.size, config.steps):
        module = build_module(level, config, inputs, network, before, torch.device("cpu"))
        content, _, _ = inputs.tensors(level.size)
        height, width = content.shape[2:]
        small = resampled(content, height // 2, width // 2, linear)
        details = content - resampled(small, height, width, linear)
        plain = content
        if before is not None:
            plain = resampled(before.image(), height, width, cubic).clamp(0, 1)
        added.append([torch.allclose(module.image(), plain + x, atol=1e-5) for x in (0, details)])
        before = module
    assert added == [[True, False], [False, True], [True, False]]


@pytest.mark.parametrize(("padding", "tiles"), [("circular", True), ("zeros", False)])
def test_the_objective_of_tiles_does_not_depend_on_where_the_image_begins(
    padding: str, tiles: bool, tmp_path: Path, random_image: Callable[..., Tensor]
) -> None:
    """A rolled image has the same losses; 64 px and 16 are multiples of the strides."""
    backbone = ["backbone=vgg11", "backbone.weights=random", f"backbone.padding={padding}"]
    content = f"content={picture(tmp_path / 'square.png', (64, 64))}"
    names = ["+experiment=tileable_texture", "size=64"]
    config = make_config([*TINY, *names, *backbone, content])
    inputs = load_inputs(config)
    network = make_network(config, inputs, Record(None, config))
    level = build_levels(config.resolution, config.size, config.steps)[0]
    module = build_module(level, config, inputs, network, None, torch.device("cpu"))
    image = random_image(64, 64)
    losses, rolled = (module.evaluate(x).as_floats() for x in (image, image.roll((16, 32), (2, 3))))
    same = ["tv", "style/relu1_1", "style/relu5_1"]
    # float32; relu5_1 has as few as 16 positions, so its border counts
    equal = [losses[name] == pytest.approx(rolled[name], rel=1e-4) for name in same]
    assert equal == [tiles] * 3


def test_a_level_has_its_factors_and_history_and_the_record_lists_them() -> None:
    levels = "resolution.levels=[{history: 3}, {factors: {content: 0.5, style: 0}, lr_factor: 2}]"
    settings = ["resolution.pyramid=true", "resolution.sizes=[32,48]", levels]
    result = tiny_run(None, *settings, "alpha=4", "loss.tv.weight=0", "optimizer.history=7")
    same = {"lr": 1.0, "history": 3, "factors": {}}
    assert result.record["levels"] == [
        {"width": 32, "height": 21, "steps": 2} | same,
        {"width": 48, "height": 32, "steps": 3}
        | {"lr": 2.0, "history": 7, "factors": {"content": 0.5, "style": 0.0}},
    ]
    assert result.losses["total"] == pytest.approx(2 * result.losses["content"], rel=1e-5)
