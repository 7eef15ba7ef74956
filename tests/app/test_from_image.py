"""An image's overrides lead to the same config again."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers_run import picture

from nst_exp.app.compose import make_config
from nst_exp.app.from_image import expand
from nst_exp.config.schema import Config, Figure
from nst_exp.images.save import save_image
from nst_exp.utils.errors import ConfigError


def made_by(path: Path, *overrides: str) -> Path:
    """Write an image as a run with these overrides does."""
    content = json.dumps({"overrides": overrides}, ensure_ascii=False)
    save_image(np.zeros((2, 2, 3)), path, metadata={"nst_exp": content})
    return path


def again(path: Path, *overrides: str) -> Config:
    """Return the config of ``from_image=PATH`` and other overrides."""
    return make_config(expand([f"from_image={path}", *overrides]))


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["optimizer=adam", "optimizer.beta1=0.5", "trainer.threads=2"],
        ["backbone=squeezenet1_1", "loss.style.layers=[fire2,fire9]", "init={kind: noise}"],
        ["content='it is = my, photo.jpg'", "style='ü/写真.jpg'"],
        ["+experiment=crowsonkb", "++seed=3"],
    ],
)
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_same_config(tmp_path: Path, overrides: list[str], suffix: str) -> None:
    assert make_config(overrides) == again(made_by(tmp_path / f"old.{suffix}", *overrides))


def test_path_of_the_image_may_be_quoted(tmp_path: Path) -> None:
    path = made_by(tmp_path / "it is = old.png", "seed=5")
    assert make_config(expand([f'from_image="{path}"'])).seed == 5


def test_folder_figure_and_keys_of_hydra_are_not_repeated(tmp_path: Path) -> None:
    path = made_by(
        tmp_path / "old.png",
        *("out=there", "overwrite=true", "hydra.run.dir=x", "hydra/launcher=joblib"),
        *("+experiment=paper_fig3", "panel=E"),
    )
    config = again(path)
    assert (config.out, config.overwrite, config.figure.title) == (None, False, Figure().title)
    assert (config.style, config.alpha) == (["femme_nue_assise"], 5e-4)
    assert not any("hydra" in text for text in expand([f"from_image={path}"]))
    assert again(path, "figure.title=t").figure.title == "t"


def test_other_overrides_win(tmp_path: Path) -> None:
    path = made_by(tmp_path / "old.png", "beta=20", "optimizer=adam", "optimizer.lr=2", "seed=4")
    config = again(path, "beta=30", "optimizer.lr=3")
    assert (config.beta, config.optimizer.lr, config.seed) == (30, 3, 4)


def test_new_preset_replaces_its_group_and_brings_keys_outside(tmp_path: Path) -> None:
    old = ("optimizer=adam", "optimizer.lr=2", "beta=20", "seed=4", "loss.tv.weight=1")
    path = made_by(tmp_path / "old.png", *old)
    config = again(path, "optimizer=lbfgs", "loss=tutorial")
    assert config.optimizer == make_config().optimizer
    expected = make_config(["loss=tutorial"])
    assert (config.loss, config.beta, config.seed) == (expected.loss, expected.beta, 4)
    assert again(path, "loss=tutorial", "beta=7").beta == 7


def test_sweep_over_a_group_stays_a_sweep(tmp_path: Path) -> None:
    path = made_by(tmp_path / "old.png", "seed=4", "init.noise_scale=0.3")
    assert expand([f"from_image={path}", "-m", "init=noise,blend"]) == [
        *("seed=4", "-m", "init=noise,blend")
    ]


@pytest.mark.parametrize("value", ["no json", "[]", '{"overrides": 3}', "{}", "[" * 100_000])
def test_damaged_settings_are_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "old.png"
    save_image(np.zeros((2, 2, 3)), path, metadata={"nst_exp": value})
    with pytest.raises(ConfigError, match=r"from_image=.*holds no settings"):
        expand([f"from_image={path}"])


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"photo.png: holds no settings"):
        expand([f"from_image={picture(tmp_path / 'photo.png', (4, 4))}"])
    with pytest.raises(ConfigError, match=r"from_image=.*no such file"):
        expand([f"from_image={tmp_path / 'none.png'}"])
    with pytest.raises(ConfigError, match="from_image: is given twice"):
        expand(["from_image=a.png", "from_image=b.png"])


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("gone=1", "gone: no such key"),
        ("+loss.style._target_=os.system", "no such key"),
        ("\x1b[2J=1", "no setting has"),
        ("content=${oc.env:HOME}", "holds a reference"),
        ("loss.style.layers=['${seed}']", "holds a reference"),
        ("content=a\0b", "no setting has"),
        ("content=???", "no setting has"),
        ("size=huge", "must be a whole number"),
        ("seed=1,2", "add -m"),
        ("~loss", "cannot be removed"),
        ("loss@init=tutorial", "in its own group"),
        ("loss=../../tmp/own", "is not a packaged preset"),
        ("++hydra={callbacks: {own: {_target_: os.system}}}", "hydra: no such key"),
        ("--config-dir=/tmp", "is an option"),
        ("loss=own", "no such preset"),
        ("backbone.sources=[{url: 'http://10.0.0.1/w'}]", "addresses of weights"),
        ("backbone={sources: [{url: 'http://10.0.0.1/w'}]}", "addresses of weights"),
    ],
)
def test_overrides_of_a_stranger_are_refused(tmp_path: Path, override: str, reason: str) -> None:
    path = made_by(tmp_path / "old.png", override)
    with pytest.raises(ConfigError, match=f"from_image={path}: .*{reason}") as caught:
        expand([f"from_image={path}"])
    assert all(problem.isprintable() for problem in caught.value.problems)


def test_an_own_address_is_given_again(tmp_path: Path) -> None:
    own = "backbone.sources=[{url:'http://own/w.pth'}]"
    path = made_by(tmp_path / "old.png", own)
    assert again(path, own).backbone.sources[0].url == "http://own/w.pth"
    assert again(path, "backbone=vgg19").backbone == make_config(["backbone=vgg19"]).backbone
