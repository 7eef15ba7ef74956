"""The run from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers_run import TINY, picture, pixels, silent, tiny_run

import nst_exp
from nst_exp.runner.run import run
from nst_exp.utils.errors import ConfigError


def test_public_names() -> None:
    assert {name for name in nst_exp.__all__ if not hasattr(nst_exp, name)} == set()
    with pytest.raises(AttributeError, match="no attribute 'stylish'"):
        _ = nst_exp.stylish


def test_nothing_is_written_without_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = nst_exp.stylize(overrides=TINY, report=silent)
    assert (result.folder, result.path) == (None, None)
    assert list(tmp_path.iterdir()) == []


def test_same_picture_with_and_without_a_folder(tmp_path: Path) -> None:
    result = nst_exp.stylize(overrides=TINY, report=silent)
    kept = nst_exp.stylize(out=tmp_path / "run", overrides=TINY, report=silent)
    assert kept.path == tmp_path / "run" / "image.png"
    assert np.array_equal(np.asarray(result.image), pixels(kept.path))
    assert result.losses == kept.losses


def test_pictures_are_given_as_paths_or_names(tmp_path: Path) -> None:
    own = picture(tmp_path / "it's = my, photo.png", (64, 32))
    result = nst_exp.stylize(own, "starry_night", overrides=TINY, report=silent)
    assert result.image.size == (48, 24)
    assert result.record["inputs"]["content"]["path"] == str(own)


def test_out_may_stand_in_the_overrides(tmp_path: Path) -> None:
    folder = tmp_path / "there"
    result = nst_exp.stylize(overrides=[*TINY, f"out={folder}"], report=silent)
    assert result.folder == folder


def test_report_gets_the_warnings(tmp_path: Path) -> None:
    said: list[str] = []
    small = picture(tmp_path / "small.png", (20, 20))
    result = nst_exp.stylize(small, overrides=TINY, report=said.append)
    assert said == ["warning: content: 20x20 pixels are enlarged to 48x48"]
    assert result.record["warnings"] == [said[0].removeprefix("warning: ")]


def test_bad_values_raise_config_error_and_make_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="content=nope: no such file"):
        nst_exp.stylize("nope", out=tmp_path / "run", overrides=TINY)
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        nst_exp.make_config(["step=3"])
    assert list(tmp_path.iterdir()) == []


def test_config_of_the_caller_stays_as_it_is() -> None:
    config = nst_exp.make_config(TINY)
    before = nst_exp.make_config(TINY)
    run(config, None)
    assert config == before


def test_run_in_a_done_folder_is_not_repeated(tmp_path: Path) -> None:
    first = tiny_run(tmp_path)
    changed = first.path.stat().st_mtime_ns if first.path else 0
    said: list[str] = []
    second = nst_exp.stylize(out=tmp_path, overrides=TINY, report=said.append)
    assert said == [f"already done: {first.path}"]
    assert second.path is not None
    assert second.path.stat().st_mtime_ns == changed
    assert second.losses == first.losses
    assert np.array_equal(np.asarray(second.image), np.asarray(first.image))
