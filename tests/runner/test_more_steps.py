"""More steps for a run that is done or interrupted: the same folder with a larger ``steps``."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers_run import pixels, stop_at, tiny_run

from nst_exp.results.losses_csv import read_losses
from nst_exp.utils.errors import ConfigError, Interrupted

AVERAGED_ADAM = ("optimizer=adam", "resolution.averaging=0.9")
PYRAMID = ("resolution.pyramid=true", "resolution.sizes=[32,48]")


@pytest.mark.parametrize("settings", [(), AVERAGED_ADAM], ids=["lbfgs", "adam"])
@pytest.mark.parametrize("interrupted", [False, True])
def test_saved_state_continues_as_if_the_run_had_not_ended(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: tuple[str, ...],
    interrupted: bool,
) -> None:
    whole = tiny_run(None, "steps=8", *settings)
    if interrupted:
        with monkeypatch.context() as patch:
            stop_at(patch, 0, 3)
            with pytest.raises(Interrupted):
                tiny_run(tmp_path, "steps=5", *settings)
    else:
        tiny_run(tmp_path, "steps=5", "keep_checkpoint=true", *settings)
    longer = tiny_run(tmp_path, "steps=8", *settings)
    assert longer.losses == whole.losses
    assert np.array_equal(pixels(longer.path), np.asarray(whole.image))
    assert (longer.record["step"], longer.record["warnings"]) == (8, [])
    assert [row[0] for row in read_losses(tmp_path / "losses.csv")] == list(range(1, 9))
    saved = (tmp_path / "result.json").read_bytes()
    tiny_run(tmp_path, "steps=8", *settings)
    assert (tmp_path / "result.json").read_bytes() == saved  # it is done with 8 steps
    with pytest.raises(ConfigError, match="made with steps=8 instead of 5"):
        tiny_run(tmp_path, "steps=5", *settings)


def test_without_its_state_the_optimizer_starts_afresh_from_the_exact_image(tmp_path: Path) -> None:
    before = tiny_run(tmp_path, "steps=5")
    assert (tmp_path / "last.ckpt").stat().st_size < 48 * 32 * 12 + 10_000  # float32 RGB
    longer = tiny_run(tmp_path, "steps=8")
    assert longer.losses["total"] < before.losses["total"]
    first = read_losses(tmp_path / "losses.csv")[5]
    assert first[2] < before.losses["total"]  # one step from there
    (warning,) = longer.record["warnings"]
    assert "the optimizer starts afresh" in warning
    assert "keep_checkpoint=true" in warning


def test_more_steps_of_a_pyramid_are_made_at_its_last_level(tmp_path: Path) -> None:
    tiny_run(tmp_path, "steps=4", "keep_checkpoint=true", *PYRAMID)
    longer = tiny_run(tmp_path, "steps=8", *PYRAMID).record
    assert [level["steps"] for level in longer["levels"]] == [2, 6]
    (warning,) = longer["warnings"]
    assert warning.startswith("steps=8: the levels before the last keep the steps that they had")


def test_run_whose_state_is_missing_gets_no_more_steps(tmp_path: Path) -> None:
    tiny_run(tmp_path, "steps=1")
    (tmp_path / "last.ckpt").unlink()
    with pytest.raises(ConfigError) as caught:
        tiny_run(tmp_path, "steps=2")
    assert str(caught.value) == (
        f"steps=2: the run in out={tmp_path} is done with steps=1, and its state, last.ckpt, is "
        "missing; give another out=DIR, or overwrite=true to start again"
    )
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "done"


def test_nothing_to_optimize(tmp_path: Path) -> None:
    for keep in ("true", "false"):
        done = tiny_run(tmp_path / keep, "color=transfer", f"keep_checkpoint={keep}")
        assert done.record["status"] == "done"
