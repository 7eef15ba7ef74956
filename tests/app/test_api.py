"""The run from Python."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_run import TINY, picture, pixels
from PIL import Image
from torch import Tensor

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


def test_images_in_memory_are_kept_in_the_folder(tmp_path: Path) -> None:
    content = np.random.default_rng(0).random((30, 60, 3))
    given: Any = {"content": content, "style": Image.new("RGB", (64, 64)), "overrides": TINY}
    result = nst_exp.stylize(**given, out=tmp_path / "run")
    assert Path(result.record["inputs"]["content"]["path"]).parent == tmp_path / "run" / ".inputs"
    assert nst_exp.stylize(**given, out=tmp_path / "run").path == result.path  # done already
    assert np.array_equal(nst_exp.stylize(**given).image, result.image)
    with pytest.raises(ConfigError, match="size=1: "):
        nst_exp.stylize(**given, out=tmp_path / "bad", size=1)
    assert not (tmp_path / "bad").exists()
    assert nst_exp.stylize(**given, out=tmp_path / "cat.jpg").path == tmp_path / "cat.jpg"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cat", "cat.jpg", "run"]


def test_callback_sees_the_run_and_may_end_it(tmp_path: Path) -> None:
    seen = []

    def watch(step: int, total: int, image: Image.Image, losses: dict[str, float]) -> None:
        seen.append((step, total, image.size, losses["total"] > 0))

    whole = nst_exp.stylize(overrides=TINY, callback=watch, callback_every=2)
    assert seen == [(step, 5, (48, 32), True) for step in (2, 4, 5)]
    early = nst_exp.stylize(
        overrides=TINY, out=tmp_path, callback=lambda step, *_: step < 3, callback_every=1
    )
    assert (early.status, early.record["step"], early.metrics) == ("interrupted", 3, {})
    assert np.array_equal(early.image, pixels(early.path))
    resumed = nst_exp.stylize(overrides=TINY, out=tmp_path)
    assert np.array_equal(resumed.image, whole.image)
    assert list(resumed.history["step"]) == list(whole.history["step"]) == [1, 2, 3, 4, 5]


def interrupt(step: int, *_: object) -> None:
    if step == 3:
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_keeps_what_is_there_and_the_same_call_resumes(tmp_path: Path) -> None:
    given: Any = {"overrides": TINY, "callback": interrupt, "callback_every": 1}
    with pytest.raises(nst_exp.Stopped, match=r"stopped after step 3; \.result") as alone:
        nst_exp.stylize(**given)
    with pytest.raises(KeyboardInterrupt, match=r"; the same call resumes$") as stop:
        nst_exp.stylize(**given, out=tmp_path)
    assert (tmp_path / "last.ckpt").is_file()
    result = stop.value.result
    assert (result.status, result.record["step"]) == ("interrupted", 3)
    assert np.array_equal(result.image, pixels(tmp_path / "image.png"))
    assert np.array_equal(result.image, alone.value.result.image)
    assert len(result.history) == 3
    resumed = nst_exp.stylize(**given, out=tmp_path)
    assert np.array_equal(resumed.image, nst_exp.stylize(overrides=TINY).image)


def test_own_loss_term(tmp_path: Path) -> None:
    def gray(image: Tensor) -> Tensor:
        return 1000 * (image - image.mean(dim=1, keepdim=True)).square().mean()

    plain = nst_exp.stylize(overrides=TINY, out=tmp_path)
    result = nst_exp.stylize(overrides=TINY, terms={"gray": gray})
    assert result.record["own_terms"] == ["gray"]
    spread = [
        np.ptp(np.asarray(image, float), axis=2).mean() for image in (result.image, plain.image)
    ]
    assert spread[0] < 0.5 * spread[1]
    with pytest.raises(ConfigError, match="holds another run"):
        nst_exp.stylize(overrides=TINY, terms={"gray": gray}, out=tmp_path)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"gray": 3}, "gray=3: is not a function"),
        (
            {"gray": lambda image: image},
            r"terms: gray returns shape \(1, 3, 32, 48\); return a sca",
        ),
        ({"gray": lambda image: 3.0}, "terms: gray returns float"),
        ({"style": lambda image: image.mean()}, "the loss has a term style already"),
    ],
)
def test_own_loss_term_that_is_none(terms: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        nst_exp.stylize(overrides=TINY, terms=terms)


def test_result_shows_itself(tmp_path: Path) -> None:
    result = nst_exp.stylize(overrides=TINY, out=tmp_path / "run")
    assert repr(result).startswith("<Result 48x32, done, 5 steps, total ")
    assert "\n" not in repr(result)
    page = result._repr_html_()
    assert [page.count(part) for part in ("<img ", "<polyline ", "http")] == [3, 3, 0]
    lines = (tmp_path / "run" / "losses.csv").read_text().splitlines()
    assert list(result.history.columns) == lines[0].split(",")
    assert len(result.history) == len(lines) - 1 == 5
    result.save(tmp_path / "copy.png")
    assert np.array_equal(pixels(tmp_path / "copy.png"), result.image)
    with pytest.raises(ConfigError, match=r"copy.bmp: must end in one of .jpeg, .jpg"):
        result.save(tmp_path / "copy.bmp")


def test_version() -> None:
    assert nst_exp.__version__ == nst_exp.stylize(overrides=TINY).record["versions"]["nst-exp"]
