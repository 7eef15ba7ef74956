"""A picture's settings lead to the same config again."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_run import TINY, picture, tiny_run

from nst_exp.app.api import make_config
from nst_exp.app.from_image import expand, written
from nst_exp.config.schema import Config, Figure
from nst_exp.config.serialize import config_as_dict
from nst_exp.images.save import save_image
from nst_exp.utils.errors import ConfigError


def effective(config: Config) -> Config:
    """With the layers that a run records, also where they are the backbone's default."""
    config.loss.content.layers = config.loss.content.layers or config.backbone.content_layers
    config.loss.style.layers = config.loss.style.layers or config.backbone.style_layers
    return config


def made_by(path: Path, *overrides: str) -> Config:
    """Write a picture as a run with these overrides would, without the run."""
    config = effective(make_config(overrides))
    recorded = config_as_dict(config)
    metadata = {"nst_exp": json.dumps({"config": recorded}, ensure_ascii=False)}
    save_image(np.zeros((2, 2, 3)), path, metadata=metadata)
    return config


def again(path: Path, *overrides: str) -> Config:
    """The config of ``from_image=PATH`` and other overrides."""
    return make_config(expand([f"from_image={path}", *overrides]))


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["init=noise", "seed=3", "beta=1e-3"],
        ["optimizer=adam", "optimizer.beta1=0.5", "trainer.threads=2"],
        ["backbone=squeezenet1_1", "loss.style.layers=[fire2,fire9]", "loss.style.weights=[1,0.5]"],
        ["backbone=vgg19", "backbone.fallback=null", "loss=tutorial"],
        ["resolution=pyramid", "resolution.sizes=[64,256]", "optimizer.first_step=null"],
        ["loss=paper_code", "alpha=0.1", "resolution.style_size=100"],
        ["+experiment=crowsonkb"],
        ["+experiment=post_cs231n"],
        ["+experiment=jcjohnson"],
    ],
)
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_round_trip(tmp_path: Path, overrides: list[str], suffix: str) -> None:
    path = tmp_path / f"old.{suffix}"
    assert made_by(path, *overrides) == effective(again(path))


@pytest.mark.parametrize(
    "text",
    [
        "my photo.jpg",
        "it's.jpg",
        'a "b".jpg',
        "a=b.jpg",
        "ü/写真.jpg",
        r"C:\pics\a.jpg",
        "[1,2]",
        "\\",
    ],
)
def test_round_trip_of_paths(tmp_path: Path, text: str) -> None:
    path = tmp_path / "old.png"
    made_by(path, f"content={written(text)}")
    assert again(path).content == text


def test_path_of_the_picture_may_be_quoted(tmp_path: Path) -> None:
    path = tmp_path / "it is = old.png"
    made_by(path, "seed=5")
    assert make_config(expand([f'from_image="{path}"'])).seed == 5


def test_folder_and_overwrite_are_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "old.png"
    made_by(path, "out=there", "overwrite=true")
    assert (again(path).out, again(path).overwrite) == (None, False)


def test_figure_and_panel_are_not_repeated_but_what_the_panel_set_is(tmp_path: Path) -> None:
    path = tmp_path / "old.png"
    old = made_by(path, "+experiment=paper_fig3", "panel=E")
    assert (old.panel, old.figure.columns) == ("E", 2)
    new = again(path)
    assert new.panel is None
    assert new.figure == Figure()
    assert (new.style, new.alpha) == ("femme_nue_assise", 5e-4)
    old.panel, old.figure = None, Figure()
    assert effective(new) == old
    # It may become a panel of another one.
    assert again(path, "panel=x", "figure.title=t").figure.title == "t"


def test_other_overrides_win(tmp_path: Path) -> None:
    path = tmp_path / "old.png"
    made_by(path, "beta=20", "optimizer=adam", "optimizer.lr=2", "seed=4")
    config = again(path, "beta=30", "optimizer.lr=3")
    assert (config.beta, config.optimizer.lr, config.seed) == (30, 3, 4)


def test_new_preset_replaces_its_group_and_keeps_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "old.png"
    made_by(
        path, "optimizer=adam", "optimizer.lr=2", "init=noise", "init.noise_scale=0.3", "seed=4"
    )
    config = again(path, "optimizer=lbfgs", "init=content")
    assert config.optimizer == make_config(["optimizer=lbfgs"]).optimizer
    assert config.init == make_config(["init=content"]).init
    assert config.seed == 4


def test_new_preset_brings_its_keys_outside_the_group(tmp_path: Path) -> None:
    """A loss comes with the beta that belongs to its scale, whatever the old loss was run with."""
    path = tmp_path / "old.png"
    made_by(path, "beta=20")
    assert again(path, "loss=tutorial").beta == make_config(["loss=tutorial"]).beta
    assert again(path, "loss=tutorial", "beta=7").beta == 7


def test_new_backbone_brings_its_own_layers(tmp_path: Path) -> None:
    path = tmp_path / "old.png"
    made_by(path, "backbone=vgg16")
    config = again(path, "backbone=resnet50")
    assert config.loss.style.layers == []  # whatever backbone it is: its style_layers
    assert config.backbone == make_config(["backbone=resnet50"]).backbone


def test_sweep_over_a_group_stays_a_sweep(tmp_path: Path) -> None:
    path = tmp_path / "old.png"
    made_by(path, "seed=4", "init.noise_scale=0.3")
    assert expand([f"from_image={path}", "-m", "init=noise,blend"]) == [
        "optimizer=lbfgs",
        "seed=4",
        "-m",
        "init=noise,blend",
    ]


def test_picture_without_settings_is_refused(tmp_path: Path) -> None:
    path = picture(tmp_path / "photo.png", (4, 4))
    with pytest.raises(ConfigError, match=r"from_image=.*photo.png: holds no settings; a PNG made"):
        expand([f"from_image={path}"])


@pytest.mark.parametrize("value", ["no json", "[]", '{"config": 3}', '{"config": {}}'])
def test_damaged_settings_are_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "old.png"
    save_image(np.zeros((2, 2, 3)), path, metadata={"nst_exp": value})
    with pytest.raises(ConfigError, match="from_image"):
        expand([f"from_image={path}"])


def test_missing_picture_and_two_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"from_image=.*no such file"):
        expand([f"from_image={tmp_path / 'none.png'}"])
    with pytest.raises(ConfigError, match="from_image: given twice"):
        expand(["from_image=a.png", "from_image=b.png"])


def test_key_that_is_no_more_is_named(tmp_path: Path) -> None:
    recorded = config_as_dict(make_config()) | {"gone": 1}
    path = tmp_path / "old.png"
    save_image(np.zeros((2, 2, 3)), path, metadata={"nst_exp": json.dumps({"config": recorded})})
    with pytest.raises(ConfigError, match="gone: no such key"):
        again(path)


def test_real_run_is_repeated_to_the_last_bit(tmp_path: Path) -> None:
    first = tiny_run(tmp_path / "a", "init=noise", "seed=3", f"out={written(str(tmp_path / 'a'))}")
    assert first.path is not None
    config = again(first.path)
    assert config == make_config([*TINY, "init=noise", "seed=3"])


def stranger(path: Path, **settings: object) -> Path:
    """A picture of somebody else's making."""
    recorded = _defaults() | settings
    save_image(np.zeros((2, 2, 3)), path, metadata={"nst_exp": json.dumps({"config": recorded})})
    return path


@cache
def _defaults() -> dict[str, Any]:
    return config_as_dict(make_config())


def sources(**source: str) -> dict[str, object]:
    backbone: dict[str, object] = _defaults()["backbone"] | {"sources": [source]}
    return backbone


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"hydra": {"run": {"dir": "elsewhere"}}}, "hydra: no such key"),
        ({"hydra.run.dir": "elsewhere"}, "hydra.run.dir: no such key"),
        ({"+hydra.callbacks.x": {"_target_": "os.system"}}, "no such key"),
        ({"hydra/launcher": "other"}, "no such key"),
        ({"out=elsewhere,beta": 1}, "no such key"),
        ({"~content": "x"}, "no such key"),
        ({"\x1b[2J": 1}, "no such key"),
        ({"loss": {"style": {"_target_": "os.system"}}}, r"loss\.style\._target_: no such key"),
        ({"content": "${oc.env:HOME}"}, r"content=\$\{oc\.env:HOME\}: refers to something"),
        ({"loss": {"style": {"layers": ["${seed}"]}}}, r"loss\.style\.layers=.*refers"),
        ({"content": "\ud800"}, "characters that no setting has"),
        ({"content": "a\0b"}, "characters that no setting has"),
        ({"content": "???"}, "characters that no setting has"),
        ({"size": "huge"}, "size: "),
        ({"size": [1]}, "size: "),
        ({"loss": 5}, "loss"),
        ({"backbone": None}, "backbone"),
        ({"optimizer": "adam"}, "unknown optimizer"),
        ({"optimizer": {"kind": ["adam"]}}, "unknown optimizer"),
        ({"backbone": sources(url="http://10.0.0.1/w.pth")}, "10.0.0.1/w.pth is in no preset"),
        ({"backbone": sources(kind="wheel", package="a==1")}, "a==1 is in no preset"),
        ({"backbone": sources(other="x")}, "other"),
    ],
)
def test_settings_of_a_stranger_are_refused(
    tmp_path: Path, settings: dict[str, object], reason: str
) -> None:
    path = stranger(tmp_path / "old.png", **settings)
    with pytest.raises(ConfigError, match=f"from_image={path}: .*{reason}") as caught:
        expand([f"from_image={path}"])
    assert all(problem.isprintable() for problem in caught.value.problems)


def test_where_a_stranger_wants_the_result_does_not_matter(tmp_path: Path) -> None:
    path = stranger(tmp_path / "old.png", out="/elsewhere", overwrite=True, panel="x", figure=3)
    assert expand([f"from_image={path}"]) == ["optimizer=lbfgs"]


def test_an_own_address_is_given_again(tmp_path: Path) -> None:
    source = {"url": "http://own/w.pth", "sha256": "0" * 64}
    path = stranger(tmp_path / "old.png", backbone=sources(**source))
    again_given = f"backbone.sources=[{{url:'{source['url']}',sha256:'{source['sha256']}'}}]"
    assert again(path, again_given).backbone.sources[0].url == source["url"]
    assert again(path, "backbone=vgg19").backbone == make_config(["backbone=vgg19"]).backbone


def test_brackets_without_end(tmp_path: Path) -> None:
    path = tmp_path / "old.png"
    save_image(np.zeros((2, 2, 3)), path, metadata={"nst_exp": "[" * 100_000})
    with pytest.raises(ConfigError, match="holds no settings"):
        expand([f"from_image={path}"])
