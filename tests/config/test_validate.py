"""Values that are refused before torch is imported, all of them in one message."""

from __future__ import annotations

import math
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from helpers_run import picture

from nst_exp.config import schema
from nst_exp.config.pyramid import level_sizes
from nst_exp.config.schema import Adam, Config
from nst_exp.runner.validate import validate
from nst_exp.utils.errors import ConfigError


def good(optimizer: schema.Optimizer | None = None) -> Config:
    """A config that passes, made without Hydra, since these tests ask about values alone."""
    config = Config(content="chelsea", style="starry_night")
    config.backbone.content_layers = ["relu4_2"]
    config.backbone.style_layers = ["relu1_1", "relu2_1"]
    if optimizer is not None:
        config.optimizer = optimizer
    return config


def put(config: Config, key: str, value: object) -> Config:
    """Set a dotted key."""
    *path, name = key.split(".")
    node: object = config
    for part in path:
        node = getattr(node, part)
    setattr(node, name, value)
    return config


def problems(config: Config) -> list[str]:
    """What validate() says; nothing if it passes."""
    try:
        validate(config)
    except ConfigError as error:
        return error.problems
    return []


def changed(**values: object) -> list[str]:
    """What validate() says of a good config with these keys; a double underscore is a dot."""
    config = good()
    for key, value in values.items():
        put(config, key.replace("__", "."), value)
    return problems(config)


def having(key: str) -> Config:
    """A good config with an optimizer that has the key."""
    return good(Adam() if key.split(".")[-1] in ("beta1", "beta2", "eps") else None)


def among(key: str, value: float) -> object:
    """The value, among others where the key has a list of them."""
    lists = {"optimizer.milestones": [value], "loss.tv.channel_std": [1.0, value, 1.0]}
    return lists.get(key, value)


def test_good_config_passes() -> None:
    assert problems(good()) == []
    assert problems(good(Adam())) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("key", ["alpha", "loss.style.a", "optimizer.lr", "max_megapixels"])
def test_not_finite(key: str, value: float) -> None:
    said = problems(put(good(), key, value))
    assert said == [f"{key}={value}: must be a finite number"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"content": "chelse"}, "content=chelse: no such file; did you mean 'chelsea'?"),
        ({"style": ""}, "style=: is empty; name an image file, or one of summer_palace"),
        ({"content": "/"}, "content=/: it is a folder; name one image in it"),
        ({"content": "x" * 300}, "no such file"),  # too long for any file system
        ({"content": "~nobody-of-that-name/a.jpg"}, "no such file"),
        (
            {"init__kind": schema.InitKind.file},
            "init.kind=file: no file is given; name the image with init.file",
        ),
        ({"init__file": "chelsea"}, "init.file=chelsea: only read with init=file"),
        ({"backbone__file": "none.pth"}, "backbone.file=none.pth: no such file; correct the path"),
        ({"backbone__file": "/"}, "backbone.file=/: no such file"),
        ({"backbone__file": "~nobody-of-that-name/a.pth"}, "no such file"),
        ({"image": "image.gif"}, "image=image.gif: must be a file name in .jpeg, .jpg, .png"),
        ({"image": "sub/image.png"}, "image=sub/image.png: must be a file name without a folder"),
        ({"image": "a" * 250 + ".png"}, "longer than 200 bytes; give a shorter name"),
        ({"background": "whit"}, "must be an opaque color; did"),
        ({"background": "#ffffff80"}, "background=#ffffff80: must be an opaque color"),
        ({"bit_depth": 12}, "bit_depth=12: must be one of 8, 16"),
        ({"bit_depth": 16, "image": "a.jpg"}, "bit_depth=16: image=a.jpg holds 8 bits"),
        ({"alpha": 0.0, "beta": 0.0}, "alpha=0 beta=0: nothing to optimize"),
        ({"size": 7}, "size=7: relu4_2 needs at least 8 pixels on the shorter side; use size=8"),
        (
            {"loss__tv__weight": 0.0, "alpha": 0.0, "loss__style__weights": [0.0, 0.0]},
            "alpha=0 beta=5: nothing to optimize",
        ),
        ({"loss__style__layers": ["relu9_1"]}, "loss.style.layers: vgg16 has no layer 'relu9_1'"),
        ({"loss__style__layers": ["relu1_1"] * 2}, "'relu1_1' is given twice"),
        (
            {"loss__style__weights": [1.0]},
            "loss.style.weights=[1]: has 1 entries for 2 layers",
        ),
        (
            {"loss__style__weights": [1.0, -2.0]},
            "loss.style.weights=[1,-2]: every value must be at least 0",
        ),
        ({"loss__content__weights": [math.nan]}, "must be a finite number"),
        (
            {"backbone__content_layers": []},
            "loss.content.layers=[]: backbone.name=vgg16 has no default; name a layer",
        ),
        (
            {"loss__tv__channel_std": [0.2]},
            "channel_std=[0.2]: give three values (R, G, B)",
        ),
        (
            {"loss__tv__channel_std": [0.2] * 4},
            "=[0.2,0.2,0.2,0.2]: give three values",
        ),
        (
            {"init__noise_mean": []},
            "init.noise_mean=[]: give one value or three",
        ),
        ({"init__noise_mean": [0.5, 0.5]}, "init.noise_mean=[0.5,0.5]: give one"),
        (
            {"resolution__shares": [math.nan], "optimizer__milestones": [3]},
            "shares=[nan]: every value must be",
        ),
        (
            {"init__noise_mean": [math.nan]},
            "init.noise_mean=[nan]: every value must be a finite number",
        ),
        ({"optimizer__milestones": [5, 3]}, "optimizer.milestones=[5,3]: must increase"),
        ({"optimizer__milestones": [3, 3]}, "optimizer.milestones=[3,3]: must increase"),
        (
            {
                "loss__style__statistic": schema.Statistic.wasserstein2,
                "loss__style__relative": True,
            },
            "loss.style.relative=true: only with loss.style.statistic=gram",
        ),
        ({"trainer__accelerator": "cud"}, "must be one of auto, cpu, gpu, cuda, mps; did you mean"),
        ({"trainer__precision": "16"}, "trainer.precision=16: must be one of 32-true"),
        ({"trainer__precision": "16-mixed"}, "half precision needs gradient scaling"),
        (
            {"trainer__precision": "16-mixed", "trainer__accelerator": "cpu"},
            "needs a GPU; use bf16-mixed",
        ),
        ({"optimizer__clamp": True}, "optimizer.clamp=true: clipping the image after"),
        ({"optimizer": schema.Optimizer()}, "optimizer: choose optimizer=lbfgs or optimizer=adam"),
        ({"resolution__ratio": 1.0}, "resolution.ratio=1.0: must be greater than 1"),
        (
            {"resolution__shares": [1.0, 0.0]},
            "resolution.shares=[1,0]: every value must be greater than 0",
        ),
        ({"resolution__sizes": [64, 384]}, "only a pyramid has several; use resolution=pyramid"),
        (
            {"resolution__pyramid": True, "resolution__sizes": [256, 64, 256]},
            "resolution.sizes=[256,64,256]: must increase from level to level",
        ),
        (
            {"resolution__pyramid": True, "resolution__sizes": [64, 128]},
            "the last level must be size=384, not 128",
        ),
    ],
)
def test_refused(values: dict[str, object], said: str) -> None:
    assert any(said in line for line in changed(**values)), changed(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"alpha": 0.0, "backbone__content_layers": []},  # content is measured nowhere
        {"beta": 0.0, "backbone__style_layers": []},
        {"alpha": 0.0, "beta": 0.0, "loss__tv__weight": 1.0},
        {"loss__style__layers": ["features.3", "features.8"]},  # torchvision's node names
        {"resolution__pyramid": True, "resolution__sizes": [64, 384]},
        {"bit_depth": 16, "image": "a.TIF"},
        {"loss__tv__channel_std": [0.229, 0.224, 0.225]},
        {"init__noise_mean": [0.485, 0.458, 0.4076]},
        {"init__noise_mean": [-0.1]},  # a start outside 0..1 is a person's own affair
        {"optimizer__milestones": [3, 5], "optimizer__gamma": 0.0},
        {"loss__style__statistic": schema.Statistic.wasserstein2},
        {"init__kind": schema.InitKind.file, "init__file": "chelsea"},
        {"trainer__precision": "16-mixed", "optimizer": Adam()},
    ],
)
def test_allowed(values: dict[str, object]) -> None:
    assert changed(**values) == []


@pytest.mark.parametrize(
    ("milestones", "pyramid", "said"),
    [
        ([149], False, []),  # the last of 150 steps is taken with the smaller rate
        ([150], False, ["150 would never be reached, since the run has 150 steps"]),
        ([50, 150, 400], False, ["150,400 would never be reached"]),
        ([99], True, []),  # 384 pixels in two levels, of 100 steps and of 50
        ([100], True, ["100 would never be reached, since the longest level has 100 steps"]),
    ],
)
def test_milestones_that_no_step_reaches(
    milestones: list[int], pyramid: bool, said: list[str]
) -> None:
    shares = {"resolution__pyramid": True, "resolution__shares": [2.0, 1.0]} if pyramid else {}
    found = changed(optimizer__milestones=milestones, **shares)
    assert len(found) == len(said)
    assert all(part in line for part, line in zip(said, found, strict=True))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"sizes": [7, 384]}, "resolution.sizes=[7,384]: relu4_2 needs at least 8 pixels; begin"),
        ({"min_size": 6}, "resolution.min_size=6: makes a level of 6 pixels, but relu4_2 needs"),
        ({"sizes": [8, 384]}, ""),
        ({"min_size": 12}, ""),
        # relu2_1, the deepest layer of the style, needs 2
        (
            {"style_size": 1},
            "resolution.style_size=1: makes a style image of 1 pixels, but",
        ),
        ({"style_scale": 0.001}, "resolution.style_scale=0.001: makes a style image of 1 pixels"),
        ({"style_size": 2, "pyramid": False}, ""),
    ],
)
def test_levels_and_styles_too_small_for_the_layers(values: dict[str, object], said: str) -> None:
    settings = {"resolution__pyramid": True} | {f"resolution__{k}": v for k, v in values.items()}
    found = changed(**settings)
    assert [said in line for line in found] == ([True] if said else [])


def test_every_level_that_passes_is_large_enough() -> None:
    """Against the sizes themselves: no coarser level than the layer allows."""
    for least in range(8, 40):
        config = put(put(good(), "resolution.pyramid", True), "resolution.min_size", least)
        assert problems(config) == []
        assert min(level_sizes(config.resolution, config.size)) >= 8


def test_near_file_in_the_same_folder_is_suggested(tmp_path: Path) -> None:
    picture(tmp_path / "holiday.png", (8, 8))
    (said,) = changed(content=str(tmp_path / "holidy.png"))
    assert "did you mean 'holiday.png'?" in said


@pytest.mark.parametrize("name", ["tuebingen", "scream", "jesuiten_iii"])
def test_a_known_name_passes_without_being_looked_for(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("network"))
    assert changed(content=name, stand_ins=False) == []


def test_an_unknown_name_is_compared_with_all_that_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "holiday.png", (8, 8))
    monkeypatch.setenv("NST_EXP_DATA", str(tmp_path))
    assert changed(content="holiday") == []
    (said,) = changed(content="holidy")
    assert "content=holidy: no such file; did you mean 'holiday'?" in said
    assert f"and for that name in {tmp_path}" in said
    (said,) = changed(style="Shipwrek")
    assert "did you mean 'shipwreck'?" in said
    assert "known names: " in said
    assert "composition_vii" in said


def test_folder_of_pictures_must_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = picture(tmp_path / "a.png", (8, 8))
    none = tmp_path / "none"
    assert changed(images=str(tmp_path)) == []
    for place, reason in ((none, "No such file or directory"), (file, "Not a directory")):
        (said,) = changed(images=str(place))
        assert said == f"images={place}: cannot be listed ({reason}); name a folder of images"
    monkeypatch.setenv("NST_EXP_DATA", str(none))
    assert changed()[0].startswith(f"NST_EXP_DATA={none}: cannot be listed (No such file")
    assert changed(images=str(tmp_path)) == []  # the key goes first
    monkeypatch.setenv("NST_EXP_DATA", "")
    assert changed() == []


def test_all_problems_come_in_one_message() -> None:
    said = changed(
        steps=0, size=-1, alpha=-1.0, content="nope", bit_depth=9, trainer__precision="x"
    )
    assert {line.partition(":")[0] for line in said} == {
        "steps=0",
        "size=-1",
        "alpha=-1.0",
        "content=nope",
        "bit_depth=9",
        "trainer.precision=x",
    }


@pytest.mark.parametrize(
    "module", ["nst_exp", "nst_exp.app.main, nst_exp.config.validate, nst_exp.app.complaints"]
)
def test_no_torch_before_the_config_is_right(module: str) -> None:
    code = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
