"""Values that do not fit each other are refused in one clear line."""

from __future__ import annotations

import pytest

from nst_exp.config import schema
from nst_exp.config.schema import Adam, Config
from nst_exp.config.validate import combination_problems, typed
from nst_exp.config.validate_sizes import size_problems


def changed(**values: object) -> Config:
    """Return a good config with these keys changed; a double underscore is a dot."""
    config = Config()
    config.backbone.content_layers = ["relu4_2"]
    config.backbone.style_layers = ["relu1_1", "relu2_1"]
    for key, value in values.items():
        *path, name = key.split("__")
        node: object = config
        for part in path:
            node = getattr(node, part)
        setattr(node, name, value)
    return config


def problems(**values: object) -> list[str]:
    """Return the lines about a good config with these keys changed."""
    config = changed(**values)
    return [*combination_problems(config), *size_problems(config)]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"alpha": 0.0, "beta": 0.0}, "alpha=0 beta=0: nothing to optimize"),
        ({"alpha": 0.0, "loss__style__weights": [0.0, 0.0]}, "alpha=0 beta=5: nothing to optimize"),
        ({"loss__style__layers": ["relu9_1"]}, "loss.style.layers: vgg16 has no layer 'relu9_1'"),
        ({"loss__style__layers": ["relu1_1"] * 2}, "=[relu1_1,relu1_1]: 'relu1_1' is given twice"),
        ({"loss__style__weights": [1.0]}, "loss.style.weights=[1]: has 1 entries for 2 layers"),
        ({"backbone__content_layers": []}, "loss.content.layers=[]: backbone.name=vgg16 has no"),
        ({"loss__tv__channel_std": [0.2]}, "channel_std=[0.2]: give three values (R, G, B)"),
        ({"init__noise_mean": []}, "init.noise_mean=[]: give one value or three"),
        ({"init__noise_mean": [0.5, 0.5]}, "init.noise_mean=[0.5,0.5]: give one value or three"),
        (
            {
                "loss__style__statistic": schema.Statistic.wasserstein2,
                "loss__style__relative": True,
            },
            "loss.style.relative=true: not with loss.style.statistic=wasserstein2",
        ),
        (
            {"loss__more": {"std": schema.StyleTerm(["relu9_1"])}},
            "loss.more.std.layers: vgg16 has no layer 'relu9_1'",
        ),
        (
            {"loss__more": {"std": schema.StyleTerm(weights=[1.0])}},
            "loss.more.std.weights=[1]: has 1 entries for 2 layers (relu1_1, relu2_1)",
        ),
        ({"loss__more": {"tv": schema.StyleTerm()}}, "loss.more.tv: this name has another"),
        ({"backbone__name": ""}, "backbone.name=: is empty; name a torchvision classifier"),
        ({"backbone__calibration": "."}, "only read with backbone.normalized=true"),
        (
            {"backbone__calibration": "/none", "backbone__normalized": True},
            "backbone.calibration=/none: no such folder; name a folder of images",
        ),
        (
            {"backbone__normalized": True, "backbone__name": "resnet18"},
            "backbone.normalized=true: resnet18 is not a chain",
        ),
        ({"trainer__precision": "16-mixed"}, "half precision needs gradient scaling"),
        (
            {"trainer__precision": "16-mixed", "trainer__accelerator": "cpu", "optimizer": Adam()},
            "needs a GPU; use bf16-mixed",
        ),
        (
            {"trainer__accelerator": "cpu", "trainer__device": 1},
            "trainer.device=1: trainer.accelerator=cpu has one device",
        ),
        ({"optimizer__clamp": True}, "optimizer.clamp=true: clipping the image after"),
        ({"optimizer": schema.Optimizer()}, "optimizer: choose optimizer=lbfgs or optimizer=adam"),
        ({"optimizer__milestones": [5, 3]}, "optimizer.milestones=[5,3]: must increase"),
        ({"optimizer__milestones": [3, 3]}, "optimizer.milestones=[3,3]: must increase"),
        ({"resolution__sizes": [64, 384]}, "only a pyramid has several; use resolution=pyramid"),
        (
            {"resolution__pyramid": True, "resolution__sizes": [256, 64, 256]},
            "resolution.sizes=[256,64,256]: must increase from level to level",
        ),
        (
            {"resolution__pyramid": True, "resolution__sizes": [64, 128]},
            "the last level must be size=384, not 128",
        ),
        (
            {"resolution__pyramid": True, "resolution__min_size": 8, "steps": 3},
            "steps=3: the 6 levels of the pyramid need at least one step each; use steps=6",
        ),
    ],
)
def test_refused(values: dict[str, object], said: str) -> None:
    found = problems(**values)
    assert any(said in line for line in found), found


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"optimizer": Adam()},
        {"alpha": 0.0, "backbone__content_layers": []},  # content is measured nowhere
        {"beta": 0.0, "backbone__style_layers": []},
        {"alpha": 0.0, "beta": 0.0, "loss__tv__weight": 1.0},
        {"loss__style__layers": ["features.3", "features.8"]},  # torchvision's node names
        {"resolution__pyramid": True, "resolution__sizes": [64, 384]},
        {"loss__tv__channel_std": [0.229, 0.224, 0.225]},
        {"init__noise_mean": [-0.1]},
        {"init__noise_mean": [0.485, 0.458, 0.4076]},
        {"optimizer__milestones": [3, 5], "optimizer__gamma": 0.0},
        {"loss__style__statistic": schema.Statistic.wasserstein2},
        {"trainer__precision": "16-mixed", "optimizer": Adam()},
        {"backbone__normalized": True, "backbone__calibration": "."},
    ],
)
def test_allowed(values: dict[str, object]) -> None:
    assert problems(**values) == []


@pytest.mark.parametrize(
    ("milestones", "pyramid", "said"),
    [
        ([149], False, ""),  # the last of 150 steps is made with the smaller rate
        ([150], False, "150 would never be reached, since the run has 150 steps"),
        ([50, 150, 400], False, "150,400 would never be reached"),
        ([99], True, ""),  # 384 pixels in two levels, of 100 steps and of 50
        ([100], True, "100 would never be reached, since the longest level has 100 steps"),
    ],
)
def test_milestones_that_no_step_reaches(milestones: list[int], pyramid: bool, said: str) -> None:
    shares = {"resolution__pyramid": True, "resolution__shares": [2.0, 1.0]} if pyramid else {}
    found = problems(optimizer__milestones=milestones, **shares)
    assert [said in line for line in found] == [True] * bool(said)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"size": 7}, "size=7: relu4_2 needs at least 8 pixels on the shorter side; use size=8"),
        ({"sizes": [7, 384]}, "resolution.sizes=[7,384]: relu4_2 needs at least 8 pixels"),
        ({"min_size": 6}, "resolution.min_size=6: relu4_2 needs at least 8 pixels"),
        ({"sizes": [8, 384]}, ""),
        ({"min_size": 12}, ""),
        # relu2_1, the deepest layer of the style, needs 2
        ({"style_size": 1}, "resolution.style_size=1: makes a style image of 1 pixels, but"),
        ({"style_scale": 0.001}, "resolution.style_scale=0.001: makes a style image of 1 pixels"),
        ({"style_size": 2, "pyramid": False}, ""),
    ],
)
def test_images_too_small_for_the_layers(values: dict[str, object], said: str) -> None:
    changes = {key if key == "size" else f"resolution__{key}": v for key, v in values.items()}
    found = problems(**{"resolution__pyramid": True} | changes)
    assert [said in line for line in found] == [True] * bool(said)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1.0, 2.5], "k=[1,2.5]"),
        (["a", "b\udce9"], r"k=[a,b\udce9]"),
        (schema.Pool.l2, "k=l2"),
        (1.0, "k=1.0"),
    ],
)
def test_values_are_formatted_as_they_are_typed(value: object, text: str) -> None:
    assert typed("k", value) == text
