"""Every experiment composes, passes every check and has the numbers of what it is named after."""

from __future__ import annotations

import re
from enum import Enum
from functools import cache
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from nst_exp.app.api import make_config
from nst_exp.config.presets import groups
from nst_exp.config.pyramid import build_levels
from nst_exp.config.schema import Config
from nst_exp.runner.validate import validate
from nst_exp.utils.paths import CONFIGS

EXPERIMENTS = groups()["experiment"]
RELU_X_1 = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]


def text(name: str) -> str:
    return (CONFIGS / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")


def said(name: str) -> dict[str, Any]:
    """The experiment's own file, without what it builds on."""
    content = OmegaConf.to_container(OmegaConf.load(CONFIGS / "experiment" / f"{name}.yaml"))
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def panels(name: str) -> list[str]:
    return list(said(name).get("figure", {}).get("panels", {}))


def swept(name: str) -> dict[str, list[str]]:
    """{key: values} that the experiment's own sweep varies, as Hydra's basic sweeper reads them."""
    params = said(name).get("hydra", {}).get("sweeper", {}).get("params", {})
    parser = OverridesParser.create()
    return {
        key: list(parser.parse_override(f"{key}={values}").sweep_string_iterator())
        for key, values in params.items()
    }


@cache
def composed(*overrides: str) -> Config:
    return make_config(overrides)


def experiment(name: str, *more: str) -> Config:
    return composed(f"+experiment={name}", *more)


def value(config: Config, key: str) -> Any:
    """The value of a dotted key, an enumeration's as its name."""
    node: Any = config
    for part in key.split("."):
        node = getattr(node, part)
    return node.name if isinstance(node, Enum) else node


RUNS = [(name, panel) for name in EXPERIMENTS for panel in [None, *panels(name)]]


@pytest.mark.parametrize(("name", "panel"), RUNS, ids=["-".join(filter(None, r)) for r in RUNS])
def test_it_composes_and_passes_every_check(name: str, panel: str | None) -> None:
    config = experiment(name, *([f"panel={panel}"] if panel else []))
    validate(config)
    if panel:
        assert config.panel == panel
    if config.figure.title:
        assert config.figure.label
        assert "${" not in config.figure.label


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_its_file_begins_with_the_command_that_runs_it(name: str) -> None:
    head = re.match(r"(?:#.*\n)+", text(name))
    assert head is not None
    commands = re.findall(r"^#   (python -m nst_exp .*)$", head[0], re.M)
    assert commands
    for command in commands:
        assert re.search(rf"\+experiment={name}(?:\s|$)", command), command


def runs_of(command: str) -> list[tuple[str, ...]]:
    """The overrides of each run that a command makes, but for the pictures that it names."""
    runs: list[tuple[str, ...]] = [()]
    for word in command.partition("  #")[0].replace("'", "").split():
        if word == "-m" or re.fullmatch(r"(?:content|style)=\w+\.jpg", word):
            continue
        override = OverridesParser.create().parse_override(word)
        choices = [word]
        if override.is_sweep_override():
            key = word.partition("=")[0]
            choices = [f"{key}={choice}" for choice in override.sweep_string_iterator()]
        runs = [(*run, choice) for run in runs for choice in choices]
    return runs


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_commands_of_its_file_pass_every_check(name: str) -> None:
    for command in re.findall(r"^#   python -m nst_exp (.*)$", text(name), re.M):
        for run in runs_of(command):
            validate(composed(*run))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_its_sweep_is_its_panels(name: str) -> None:
    params = swept(name)
    if name == "paper_fig4":  # its panels are values of alpha, from top left to bottom right
        assert {key: [float(v) for v in values] for key, values in params.items()} == {
            "alpha": [1e-4, 1e-3, 1e-2, 1e-1]
        }
        return
    assert params == ({"panel": panels(name)} if panels(name) else {})


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if panels(name)])
def test_its_panels_all_set_the_same_and_nothing_in_vain(name: str) -> None:
    keys = {frozenset(panel) for panel in said(name)["figure"]["panels"].values()}
    assert len(keys) == 1
    used = set(re.findall(r"\$\{panel:(\w+)\}", text(name)))
    assert set(next(iter(keys))) == used


def test_every_part_is_used() -> None:
    everything = "".join(text(name) for name in EXPERIMENTS)
    for path in (CONFIGS / "experiment" / "parts").glob("*.yaml"):
        assert re.search(rf"^  - parts/{path.stem}$", everything, re.M), path.name


# What is published, by experiment. Keys that a preset or the schema would give anyhow stand here
# as well: a change there must not change these.
PAPER = {  # Gatys et al. 2016, section 2, 3; the loss has its own tests
    "backbone.name": "vgg19",
    "backbone.input": "caffe",
    "backbone.pool": "average",
    "resolution.style_fit": "content",
    "size": 512,
    "init.kind": "noise",
    # NeuralImageSynthesis: randn, deviation 1 in 0..255, around the mean that is subtracted.
    "init.noise": "normal",
    "init.noise_mean": [123.68 / 255, 116.779 / 255, 103.939 / 255],
    "init.noise_scale": 1 / 255,
    "loss.tv.weight": 0.0,
}
PAPER_LAYERS = {"loss.content.layers": ["relu4_2"], "loss.style.layers": RELU_X_1}
LBFGS = {  # torch.optim.LBFGS as it is
    "optimizer.kind": "lbfgs",
    "optimizer.lr": 1.0,
    "optimizer.history": 100,
    "optimizer.line_search": "none",
    "optimizer.first_step": None,
    "optimizer.clamp": False,
    "optimizer.parametrization.kind": "pixels",
}
ADAM = {
    "optimizer.kind": "adam",
    "optimizer.beta1": 0.9,
    "optimizer.beta2": 0.999,
    "optimizer.eps": 1e-8,
    "optimizer.parametrization.kind": "pixels",
}
PUBLISHED_LAYERS = {"loss.content.layers": ["relu4_2"], "loss.style.layers": RELU_X_1}
CAFFE = {"backbone.name": "vgg19", "backbone.input": "caffe", "backbone.pool": "max"}
TORCHVISION = {"backbone.name": "vgg19", "backbone.input": "imagenet", "backbone.pool": "max"}
JCJOHNSON = {  # neural_style.lua, its options' defaults
    **CAFFE,
    **LBFGS,
    **PUBLISHED_LAYERS,
    "alpha": 5.0,
    "beta": 100.0,
    "size": 512,
    "resolution.size_mode": "longest",
    "resolution.style_fit": "own",
    "resolution.style_scale": 1.0,
    "steps": 1000,
    "init.kind": "noise",
    "init.noise": "normal",
    "init.noise_mean": [123.68 / 255, 116.779 / 255, 103.939 / 255],
    "init.noise_scale": 0.001 / 256,  # torch.randn * 0.001, pixels in 0..256
    "optimizer.parametrization.pixel_scale": 255.0,
}
GORDIC = {  # neural_style_transfer.py and utils.py
    "backbone.name": "vgg19",
    "backbone.input": "imagenet_255",
    "backbone.pool": "max",
    **PUBLISHED_LAYERS,
    "alpha": 1e5,
    "size": 400,
    "resolution.size_mode": "height",
    "resolution.style_fit": "own",
    "loss.tv.kind": "l1",
    "loss.tv.reduction": "sum",
    "loss.tv.pixel_range": 255.0,
    "optimizer.clamp": False,
    "optimizer.parametrization.kind": "pixels",
    "optimizer.parametrization.pixel_scale": 255.0,
}
GORDIC_LBFGS = {**GORDIC, **LBFGS, "optimizer.line_search": "strong_wolfe", "steps": 1000}
GORDIC_ADAM = {**GORDIC, **ADAM, "optimizer.lr": 10.0, "steps": 3000}
GORDIC_NOISE = {  # np.random.normal(scale=90) in 0..255 minus the mean
    "init.kind": "noise",
    "init.noise": "normal",
    "init.noise_mean": [0.485, 0.456, 0.406],
    "init.noise_scale": 90 / 255,
}
CS231N = {  # the assignment's notebook, and the blog post's noise
    "backbone.name": "squeezenet1_1",
    **ADAM,
    "optimizer.lr": 3.0,  # initial_lr, until decay_lr_at
    "optimizer.milestones": [180],
    "optimizer.gamma": 0.1 / 3.0,
    "steps": 200,
    "size": 192,
    "resolution.size_mode": "shortest",
    "loss.content.layers": ["fire2"],
    "loss.style.layers": ["relu1", "fire3", "fire4", "fire5"],
    "loss.style.weights": [20000.0, 500.0, 12.0, 1.0],
    "loss.tv.kind": "l2",
    "loss.tv.reduction": "sum",
    "init.kind": "noise",
    "init.noise": "uniform",  # uniform_(0, 1) of the normalized picture
    "init.noise_mean": [0.485 + 0.229 / 2, 0.456 + 0.224 / 2, 0.406 + 0.225 / 2],
    "init.noise_scale": (0.229 + 0.224 + 0.225) / 3 / 12**0.5,
    "optimizer.parametrization.pixel_scale": 3 / (0.229 + 0.224 + 0.225),
}
STD_PIXELS = {"optimizer.parametrization.pixel_scale": 3 / (0.229 + 0.224 + 0.225)}
NOTEBOOK = {  # leongatys/PytorchNeuralStyleTransfer
    **CAFFE,
    **LBFGS,
    **PUBLISHED_LAYERS,
    "alpha": 1.0,
    "beta": 1e3,
    "init.kind": "content",
    "resolution.size_mode": "shortest",
    "optimizer.parametrization.pixel_scale": 255.0,
}
PUBLISHED: dict[str, dict[str, Any]] = {
    "paper_fig1_content": {**PAPER, "beta": 0.0},
    "paper_fig1_style": {**PAPER, "alpha": 0.0},
    "paper_fig3": {**PAPER, **PAPER_LAYERS, "content": "tuebingen", "beta": 1.0},
    "paper_fig4": {**PAPER, **PAPER_LAYERS, "style": "composition_vii", "beta": 1.0},
    "paper_fig5": {**PAPER, "style": "jesuiten_iii", "alpha": 1e-3, "beta": 1.0},
    "paper_fig6": {**PAPER, **PAPER_LAYERS, "style": "starry_night", "alpha": 1e-3, "beta": 1.0}
    | {"init.kind": "content"},
    "paper_fig7": {**PAPER, **PAPER_LAYERS, "alpha": 1e-2, "beta": 1.0, "init.kind": "content"}
    | {"content": "london", "style": "new_york"},
    "gatys_notebook": {**NOTEBOOK, "size": 512, "steps": 500},
    "gatys_notebook_highres": {**NOTEBOOK, "size": 800, "steps": 700}
    | {"resolution.pyramid": True, "resolution.sizes": [512, 800]},
    "jcjohnson": {
        **JCJOHNSON,
        "loss.tv.weight": 1e-3 / 2,  # the gradient of 1/2 sum d^2
        "loss.tv.kind": "l2_interior",
        "loss.tv.reduction": "sum",
        "loss.tv.pixel_range": 256.0,
    },
    "neural_style_pt": {
        **JCJOHNSON,
        "loss.tv.weight": 1e-3,
        "loss.tv.kind": "l1",
        "loss.tv.reduction": "sum",
        "loss.tv.pixel_range": 255.0,
    },
    "crowsonkb": {  # style_transfer.py, the defaults of stylize()
        **TORCHVISION,
        **ADAM,
        **PUBLISHED_LAYERS,
        "backbone.padding": "replicate",
        "alpha": 0.015,
        "beta": 1.0,
        "loss.style.statistic": "wasserstein2",
        "loss.style.weights": [w / 341 for w in (256, 64, 16, 4, 1)],
        "loss.tv.weight": 2.0,
        "loss.tv.kind": "l2_nine",
        "loss.tv.reduction": "mean",
        "init.kind": "content",
        "size": 512,
        "resolution.size_mode": "longest",
        "resolution.min_size": 128,
        "resolution.ratio": 2**0.5,
        "resolution.averaging": 0.99,
        "steps": 3000,
        "optimizer.lr": 0.02,
        "optimizer.beta2": 0.99,
        "optimizer.clamp": True,
        "optimizer.parametrization.pixel_scale": 1.0,
    },
    "cysmith": {  # neural_style.py, its arguments' defaults
        **CAFFE,
        "backbone.pool": "average",
        "alpha": 5.0,
        "beta": 1e4,
        "loss.content.layers": ["conv4_2"],
        "loss.style.layers": RELU_X_1,
        "loss.tv.weight": 1e-3,
        "loss.tv.kind": "l1",
        "loss.tv.reduction": "sum",
        "loss.tv.pixel_range": 255.0,
        "init.kind": "content",
        "size": 512,
        "resolution.size_mode": "longest",
        "resolution.style_fit": "content",
        "steps": 1000,
        "optimizer.kind": "lbfgs",
        "optimizer.parametrization.kind": "pixels",
    },
    # The table of weights in neural_style_transfer.py, by optimizer and start.
    "gordic": {**GORDIC_LBFGS, "init.kind": "content", "beta": 3e4, "loss.tv.weight": 1.0},
    "gordic_lbfgs_style": {**GORDIC_LBFGS, "init.kind": "style", "beta": 10.0}
    | {"loss.tv.weight": 0.1},
    "gordic_lbfgs_random": {**GORDIC_LBFGS, **GORDIC_NOISE, "beta": 1e3, "loss.tv.weight": 1.0},
    "gordic_adam_content": {**GORDIC_ADAM, "init.kind": "content", "beta": 1e5}
    | {"loss.tv.weight": 0.1},
    "gordic_adam_style": {**GORDIC_ADAM, "init.kind": "style", "beta": 1e2, "loss.tv.weight": 0.1},
    "gordic_adam_random": {**GORDIC_ADAM, **GORDIC_NOISE, "beta": 1e2, "loss.tv.weight": 0.1},
    "pystiche": {  # pystiche 1.0, _cli.py and its encoder's default, framework="torch"
        **TORCHVISION,
        **LBFGS,
        **PUBLISHED_LAYERS,
        "alpha": 1.0,
        "beta": 1e3,
        "init.kind": "content",
        "size": 500,
        "resolution.size_mode": "shortest",
        "steps": 500,
        "loss.tv.weight": 0.0,
        "optimizer.parametrization.pixel_scale": 1.0,
    },
    # Blog posts and course material.
    "post_resnet50": {
        "backbone.name": "resnet50",
        "backbone.input": "imagenet",
        **LBFGS,
        **STD_PIXELS,
        "loss.content.layers": ["out_2"],
        "loss.style.layers": [f"out_{i}" for i in range(6)],
        "alpha": 1.0,
        "beta": 10.0,
        "init.kind": "content",
        "size": 512,
        "resolution.size_mode": "shortest",
        "steps": 10000,
    },
    "post_tutorial": {
        **TORCHVISION,
        **LBFGS,
        "loss.content.layers": ["conv4_2"],  # conv_10
        "loss.style.layers": ["conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"],
        "alpha": 1.0,
        "beta": 1e6,
        "init.kind": "content",
        "size": 512,
        "steps": 300,
        "optimizer.parametrization.pixel_scale": 1.0,
    },
    "post_udacity": {
        **TORCHVISION,
        **ADAM,
        **PUBLISHED_LAYERS,
        **STD_PIXELS,
        "loss.style.weights": [1.0, 0.75, 0.2, 0.2, 0.2],
        "alpha": 1.0,
        "beta": 1e6,
        "init.kind": "content",
        "size": 400,
        "resolution.size_mode": "shortest",  # transforms.Resize(size)
        "resolution.style_fit": "content",
        "steps": 2000,
        "optimizer.lr": 0.003,
        "optimizer.clamp": False,
    },
    "post_vgg19_adam": {
        **TORCHVISION,
        **ADAM,
        **PUBLISHED_LAYERS,
        **STD_PIXELS,
        "alpha": 1.0,
        "beta": 1e6,
        "init.kind": "content",
        "size": 512,
        "steps": 500,
        "optimizer.lr": 0.05,  # put right; 1 in the post
    },
    "post_vgg16": {
        "backbone.name": "vgg16",
        "loss.content.layers": ["relu3_3"],  # "the seventh convolution"
        "init.kind": "noise",
    },
    "post_cs231n": {**CS231N, "alpha": 5e-2, "beta": 1.0, "loss.tv.weight": 5e-2}
    | {"resolution.style_size": 512},
    "post_cs231n_inversion": {**CS231N, "alpha": 6e-2, "beta": 0.0, "loss.tv.weight": 2e-2},
    "post_cs231n_texture": {**CS231N, "alpha": 0.0, "beta": 1.0},
}
# These stand for no publication's numbers.
OWN = {"quick", "fine", "content_inversion", "texture_synthesis"}
# How far the files' numbers may be from these, where they are written with a few digits.
ROUNDED = {
    "init.noise_mean": 1e-3,
    "init.noise_scale": 0.03,  # 0.0039 for 1/255, 0.000004 for 0.001/256
    "optimizer.parametrization.pixel_scale": 2e-3,  # 4.42 for 1/0.226
    "optimizer.gamma": 1e-5,
    "resolution.ratio": 1e-8,
}


def test_every_experiment_is_in_the_table() -> None:
    assert set(PUBLISHED) | OWN == set(EXPERIMENTS)


def same(key: str, found: Any, expected: Any) -> bool:
    first = expected[0] if isinstance(expected, list) else expected
    if not isinstance(first, float):
        return bool(found == expected)
    return bool(found == pytest.approx(expected, rel=ROUNDED.get(key, 1e-9), abs=0))


@pytest.mark.parametrize("name", PUBLISHED)
def test_its_numbers_are_the_published_ones(name: str) -> None:
    found = {key: value(experiment(name), key) for key in PUBLISHED[name]}
    wrong = {
        key: (found[key], expected)
        for key, expected in PUBLISHED[name].items()
        if not same(key, found[key], expected)
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("name", "key", "by_panel"),
    [
        # The caption of figure 1, and the map behind each convolution's ReLU.
        (
            "paper_fig1_content",
            "loss.content.layers",
            {panel: [f"relu{block}_2"] for block, panel in enumerate("abcde", start=1)},
        ),
        (
            "paper_fig1_style",
            "loss.style.layers",
            {panel: RELU_X_1[:count] for count, panel in enumerate("abcde", start=1)},
        ),
        # Section 3 and the caption of figure 3.
        ("paper_fig3", "alpha", {"B": 1e-3, "C": 8e-4, "D": 5e-3, "E": 5e-4, "F": 5e-4}),
        (
            "paper_fig3",
            "style",
            {
                "B": "shipwreck",
                "C": "starry_night",
                "D": "the_scream",
                "E": "femme_nue_assise",
                "F": "composition_vii",
            },
        ),
        ("paper_fig5", "loss.content.layers", {"low": ["relu2_2"], "high": ["relu4_2"]}),
        (
            "paper_fig6",
            "init.kind",
            {"A": "content", "B": "style"} | {f"C{i}": "noise" for i in range(1, 5)},
        ),
    ],
)
def test_its_panels_are_the_published_ones(name: str, key: str, by_panel: dict[str, Any]) -> None:
    found = {panel: value(experiment(name, f"panel={panel}"), key) for panel in panels(name)}
    assert found == by_panel


def test_noise_of_figure_6_is_another_in_each_panel() -> None:
    seeds = [experiment("paper_fig6", f"panel=C{i}").seed for i in range(1, 5)]
    assert len(set(seeds)) == 4


def test_layers_of_the_style_reconstructions_count_alike() -> None:
    for panel in panels("paper_fig1_style"):
        weights = experiment("paper_fig1_style", f"panel={panel}").loss.style.weights
        assert len(set(weights)) <= 1


def test_schedule_of_crowsonkb() -> None:
    """Sizes by the root of two from 128 to 512; 1000 iterations for the first, 500 for others."""
    config = experiment("crowsonkb")
    levels = build_levels(config.resolution, config.size, config.steps)
    assert [level.size for level in levels] == [128, 181, 256, 362, 512]
    assert [level.steps for level in levels] == [1000, 500, 500, 500, 500]


def test_schedule_of_the_notebook() -> None:
    """500 iterations at 512 px, 200 more at 800."""
    config = experiment("gatys_notebook_highres")
    levels = build_levels(config.resolution, config.size, config.steps)
    assert [(level.size, level.steps) for level in levels] == [(512, 500), (800, 200)]


def test_a_stand_in_for_torchvisions_network_sees_maps_of_its_scale() -> None:
    """Where weights were chosen for torchvision's and the stand-in is a Caffe network."""
    for name in EXPERIMENTS:
        settings = experiment(name).backbone
        if settings.input.name == "imagenet" and settings.fallback is not None:
            assert settings.fallback == "vgg16_rescaled", name
    rescaled = yaml.safe_load((CONFIGS / "backbone" / "vgg16_rescaled.yaml").read_text("utf-8"))
    assert rescaled["map_scale"] == pytest.approx(3 / (255 * (0.229 + 0.224 + 0.225)), rel=1e-3)
