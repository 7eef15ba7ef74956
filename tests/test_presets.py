"""Every file in configs/ can be chosen, and every packaged picture can be loaded."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from nst_exp.app.api import make_config
from nst_exp.app.help import USAGE
from nst_exp.app.known_keys import known_keys
from nst_exp.config.presets import groups
from nst_exp.config.schema import Config
from nst_exp.images import find_image, load_image, named_images
from nst_exp.runner.validate import validate
from nst_exp.utils.paths import CONFIGS

# Experiments have a file of tests of their own.
PRESETS = [
    (group, name) for group, names in groups().items() if group != "experiment" for name in names
]
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


@cache
def _config(group: str, name: str) -> Config:
    return make_config([f"{group}={name}", *NEEDS.get((group, name), [])])


def _yaml(group: str, name: str) -> dict[str, object]:
    return yaml.safe_load((CONFIGS / group / f"{name}.yaml").read_text(encoding="utf-8")) or {}


@pytest.mark.parametrize(("group", "name"), PRESETS)
def test_preset_composes_and_passes_every_check(group: str, name: str) -> None:
    validate(_config(group, name))


@pytest.mark.parametrize(("group", "name"), PRESETS)
def test_what_a_preset_says_is_in_the_config(group: str, name: str) -> None:
    said = _yaml(group, name)
    is_global = "@package _global_" in (CONFIGS / group / f"{name}.yaml").read_text("utf-8")
    config = _config(group, name)
    node = config if is_global else getattr(config, group)

    def compare(said: dict[str, object], node: object) -> None:
        for key, value in said.items():
            if key in ("defaults", "sources") or value == "":
                continue
            found = getattr(node, key)
            if isinstance(value, dict):
                compare(value, found)
            else:
                assert getattr(found, "name", found) == value, key

    compare(said, node)


@pytest.mark.parametrize("name", groups()["backbone"])
def test_backbone_preset_pins_and_credits_its_sources(name: str) -> None:
    for source in _config("backbone", name).backbone.sources:
        assert re.fullmatch("[0-9a-f]{8,64}", source.sha256)
        assert source.credit
        assert source.megabytes > 0


def test_groups_are_the_folders_of_configs() -> None:
    folders = {path.name for path in CONFIGS.iterdir() if path.is_dir()}
    assert set(groups()) == folders
    assert folders - {"experiment"} <= set(known_keys())


def test_keys_and_groups_that_the_help_names_exist() -> None:
    named = set(re.findall(r"(?<=\s)([a-z_]+)=", USAGE)) - {"from_image"}
    assert named <= set(known_keys())


@pytest.mark.parametrize("name", sorted(named_images()))
def test_packaged_picture_loads_without_a_warning_and_is_credited(name: str) -> None:
    image = load_image(named_images()[name], key="content")
    assert min(image.image.size) >= 256  # the default size enlarges none of them
    assert image.warnings == []
    credits = (named_images()[name].parent / "CREDITS.md").read_text(encoding="utf-8")
    assert name in credits


def test_own_file_goes_before_a_packaged_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for expected in (named_images()["chelsea"], Path("chelsea")):
        found = find_image("chelsea")
        assert found is not None
        assert found.path == expected
        (tmp_path / "chelsea").write_bytes(b"")
