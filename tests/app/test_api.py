"""The run from Python."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers_run import TINY, picture, pixels
from PIL import Image

import nst_exp
from nst_exp.runner.run import run
from nst_exp.utils.errors import ConfigError


def test_public_names() -> None:
    assert {name for name in nst_exp.__all__ if not hasattr(nst_exp, name)} == set()
    with pytest.raises(AttributeError, match="no attribute 'stylish'"):
        _ = nst_exp.stylish


def test_nothing_is_written_without_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = nst_exp.stylize(overrides=TINY)
    assert (result.folder, result.path) == (None, None)
    assert list(tmp_path.iterdir()) == []


def test_same_image_with_and_without_a_folder(tmp_path: Path) -> None:
    result = nst_exp.stylize(overrides=TINY)
    kept = nst_exp.stylize(overrides=[*TINY, f"out={tmp_path / 'run'}"])
    assert kept.path == tmp_path / "run" / "image.png"
    assert np.array_equal(np.asarray(result.image), pixels(kept.path))
    assert result.losses == kept.losses


def test_images_are_given_as_paths_or_names(tmp_path: Path) -> None:
    own = picture(tmp_path / "it's = my, ${photo}.png", (64, 32))
    result = nst_exp.stylize(own, "starry_night", overrides=TINY, out=tmp_path / "run")
    assert result.image.size == (48, 24)
    assert result.record["inputs"]["content"]["path"] == str(own)
    # What was given is in the image as overrides, and makes the same config again.
    assert result.path is not None
    with Image.open(result.path) as image:
        overrides = json.loads(image.text["nst_exp"])["overrides"]
    assert nst_exp.make_config(overrides).content == str(own)


def test_warnings_go_to_the_log_and_the_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = nst_exp.stylize(picture(tmp_path / "small.png", (20, 20)), overrides=TINY)
    logged = [line.getMessage() for line in caplog.records if line.name.startswith("nst_exp")]
    assert logged == ["content: 20x20 pixels are enlarged to 48x48"]
    assert result.record["warnings"] == logged


def test_bad_values_raise_config_error_and_make_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="content=nope: no such file"):
        nst_exp.stylize("nope", out=tmp_path / "run", overrides=TINY)
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        nst_exp.make_config(["step=3"])
    assert list(tmp_path.iterdir()) == []


def test_folder_of_an_unknown_user_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^out=~nobody-x/a: there is no such user; write \./~"):
        nst_exp.stylize(out="~nobody-x/a", overrides=TINY)


def test_config_of_the_caller_stays_as_it_is() -> None:
    config = nst_exp.make_config(TINY)
    run(config)
    assert config == nst_exp.make_config(TINY)
