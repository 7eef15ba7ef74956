"""Every file in configs/ composes, passes every check and says nothing in vain."""

import re
from functools import cache
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from nst_exp.app.api import make_config
from nst_exp.config.presets import groups
from nst_exp.config.pyramid import build_levels, levels_of, optimizer_at
from nst_exp.config.schema import Config
from nst_exp.images import load_image, named_images
from nst_exp.runner.validate import validate
from nst_exp.utils.paths import CONFIGS

EXPERIMENTS = groups()["experiment"]
PRESETS = [(group, name) for group, names in groups().items() for name in names]
# What these presets leave to the command line.
NEEDS = {
    ("backbone", "torchvision"): [
        "backbone.name=densenet121",
        "loss.content.layers=[features.relu0]",
        "loss.style.layers=[features.relu0]",
    ],
    ("init", "file"): ["init.file=chelsea"],
    ("loss", "cs231n"): ["backbone=squeezenet1_1"],
    ("loss", "resnet_post"): ["backbone=resnet50"],
}


def text_of(group: str, name: str) -> str:
    return (CONFIGS / group / f"{name}.yaml").read_text(encoding="utf-8")


def own_keys(group: str, name: str) -> dict[str, Any]:
    """Return what the file itself sets, without what it builds on."""
    content = OmegaConf.to_container(OmegaConf.load(CONFIGS / group / f"{name}.yaml"))
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items() if key not in ("defaults", "hydra")}


@cache
def make(*overrides: str) -> Config:
    return make_config(overrides)


def panels(name: str) -> list[str]:
    return list(own_keys("experiment", name).get("figure", {}).get("panels", {}))


@pytest.mark.parametrize(("group", "name"), PRESETS)
def test_what_a_preset_sets_is_in_a_valid_config(group: str, name: str) -> None:
    plus = "+" if group == "experiment" else ""
    config = make(f"{plus}{group}={name}", *NEEDS.get((group, name), []))
    validate(config)
    for source in config.backbone.sources if group == "backbone" else ():
        assert re.fullmatch("[0-9a-f]{8,64}", source.sha256)
        assert source.credit
        assert source.megabytes > 0

    def compare(said: dict[str, Any], node: Any) -> None:
        for key, value in said.items():
            found = node[key] if isinstance(node, dict) else getattr(node, key)
            if isinstance(value, dict) and key != "panels":
                compare(value, found)
            elif key == "levels" and isinstance(value, list):
                for entry, level in zip(value, found, strict=True):
                    compare(entry, level)
            elif key not in ("panels", "sources") and value != "" and "${" not in str(value):
                single = key == "style" and isinstance(value, str)
                value = [value] if single else value
                assert getattr(found, "name", found) == value, key

    is_global = "@package _global_" in text_of(group, name)
    compare(own_keys(group, name), config if is_global else getattr(config, group))


@pytest.mark.parametrize("name", sorted(named_images()))
def test_packaged_image_loads_without_a_warning_and_is_credited(name: str) -> None:
    image = load_image(named_images()[name], key="content")
    assert min(image.image.size) >= 256  # the default size enlarges none of them
    assert image.warnings == []
    credits = (named_images()[name].parent / "CREDITS.md").read_text(encoding="utf-8")
    assert name in credits


def runs_of(command: str) -> list[tuple[str, ...]]:
    """Return the overrides of each run that a command makes, without the reader's own images."""
    runs: list[tuple[str, ...]] = [()]
    for word in command.partition("  #")[0].replace("'", "").split():
        if word == "-m" or re.fullmatch(r"(content|style)(_map)?=\S+\.(jpg|png)\]?", word):
            continue
        override = OverridesParser.create().parse_override(word)
        choices = [word]
        if override.is_sweep_override():
            key = word.partition("=")[0]
            choices = [f"{key}={choice}" for choice in override.sweep_string_iterator()]
        runs = [(*run, choice) for run in runs for choice in choices]
    return runs


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_begins_with_commands_that_are_valid(name: str) -> None:
    head = re.match(r"(?:#.*\n)+", text_of("experiment", name))
    assert head is not None
    commands = re.findall(r"^#   python -m nst_exp (.*)$", head[0], re.M)
    assert commands
    for command in commands:
        assert re.search(rf"\+experiment={name}(?:\s|$)", command), command
        for run in runs_of(command):
            validate(make(*run))


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if panels(name)])
def test_panels_all_set_the_same_keys_and_are_what_the_sweep_varies(name: str) -> None:
    for panel in panels(name):
        config = make(f"+experiment={name}", f"panel={panel}")
        validate(config)
        assert config.figure.label
        assert "${" not in config.figure.label
    (keys,) = {frozenset(p) for p in own_keys("experiment", name)["figure"]["panels"].values()}
    assert keys == set(re.findall(r"\$\{nst_panel:(\w+)\}", text_of("experiment", name)))
    params = yaml.safe_load(text_of("experiment", name))["hydra"]["sweeper"]["params"]
    assert [word.strip() for word in params["panel"].split(",")] == panels(name)


def test_every_part_is_used() -> None:
    everything = "".join(text_of("experiment", name) for name in EXPERIMENTS)
    for path in (CONFIGS / "experiment" / "parts").glob("*.yaml"):
        assert re.search(rf"^  - parts/{path.stem}$", everything, re.M), path.name


@pytest.mark.parametrize(
    ("command", "levels"),
    [
        ("crowsonkb size=256", [(128, 1000), (181, 500), (256, 500)]),
        ("crowsonkb size=256 steps=300", [(128, 150), (181, 75), (256, 75)]),
        ("crowsonkb resolution.pyramid=false", [(512, 1000)]),
        # Sizes by the root of two from 128 to 512; 1000 iterations for the first, 500 for others.
        ("crowsonkb", [(128, 1000), (181, 500), (256, 500), (362, 500), (512, 500)]),
        ("gatys_notebook_highres", [(512, 500), (800, 200)]),
        # spst-fast: max(600 / 3^s, 30), from a shortest side of 512 to 1023 on; spst-baseline
        (
            "galerne2024_spst size=8192",
            [(512, 600), (1024, 200), (2048, 66), (4096, 30), (8192, 30)],
        ),
        (
            "galerne2024_spst size=4000 resolution.shares=[600,300]",
            [(1000, 600), (2000, 300), (4000, 300)],
        ),
    ],
)
def test_schedule_is_the_published_one(command: str, levels: list[tuple[int, int]]) -> None:
    config = make(*f"+experiment={command}".split())
    found = build_levels(config.resolution, config.size, config.steps)
    assert [(level.size, level.steps) for level in found] == levels


def test_history_of_spst_is_the_published_one() -> None:
    config = make("+experiment=galerne2024_spst", "size=4096")
    histories = [vars(optimizer_at(config, level))["history"] for level in levels_of(config)]
    assert histories == [100, 10, 10, 10]


def test_panels_of_figure_3_are_the_published_ones() -> None:
    """Gatys et al. 2016, caption of figure 3."""
    configs = [make("+experiment=paper_fig3", f"panel={panel}") for panel in "BCDEF"]
    assert [config.alpha for config in configs] == [1e-3, 8e-4, 5e-3, 5e-4, 5e-4]
    styles = "shipwreck starry_night the_scream femme_nue_assise composition_vii"
    assert [config.style[0] for config in configs] == styles.split()
    assert {config.beta for config in configs} == {1.0}
    assert {config.loss.content.layers[0] for config in configs} == {"relu4_2"}


def test_fallback_of_torchvisions_network_has_maps_of_its_scale() -> None:
    """The weights of these losses were chosen for torchvision's network, and that is Caffe's."""
    config = make("backbone=vgg16_rescaled")
    assert config.backbone.map_scale == pytest.approx(3 / (255 * (0.229 + 0.224 + 0.225)), rel=1e-3)
    for name in EXPERIMENTS:
        backbone = make(f"+experiment={name}").backbone
        if backbone.input.name == "imagenet" and backbone.fallback is not None:
            assert backbone.fallback.map_scale == config.backbone.map_scale, name
