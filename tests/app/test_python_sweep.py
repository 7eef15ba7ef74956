"""A sweep from Python."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app.test_hosts import state
from helpers_run import TINY, pixels, stop_at

import nst_exp
from nst_exp.utils.errors import ConfigError

GRAY = np.full((24, 32, 3), 0.5)


@pytest.mark.slow
def test_table_has_a_row_for_each_job(tmp_path: Path) -> None:
    before = state()
    table = nst_exp.sweep(
        {"beta": np.array([1, 10]), "style": [GRAY, ["chelsea", "starry_night"]]},
        out=tmp_path / "sweep",
        overrides=TINY,
        steps=2,
    )
    after = state()
    assert {key for key, value in before.items() if after[key] != value} == set()
    assert sorted(table["beta"]) == [1, 1, 10, 10]
    assert list(table["style"]).count("[chelsea,starry_night]") == 2
    assert set(table["status"]) == {"done"}
    assert all(pixels(Path(path)).shape == (32, 48, 3) for path in table["image"])
    assert (tmp_path / "sweep" / "report.html").is_file()
    assert nst_exp.load_results(tmp_path / "sweep").equals(table)
    lowest = table.groupby("beta")["total_loss"].min()
    assert lowest[1] < lowest[10]


@pytest.mark.slow
def test_stop_keeps_jobs_and_the_same_call_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call() -> Any:
        return nst_exp.sweep("seed=1,2", overrides=[*TINY, "init=noise"], out=tmp_path / "s")

    with monkeypatch.context() as patch:
        stop_at(patch, 0, 3)
        with pytest.raises(nst_exp.Stopped, match=r"the same call with out=.* resumes"):
            call()
    table = nst_exp.load_results(tmp_path / "s")
    assert list(table["status"]) == ["interrupted", "missing"]
    assert Path(table["image"][0]).is_file()
    assert list(call()["status"]) == ["done", "done"]


@pytest.mark.parametrize(
    ("varied", "message"),
    [
        ({"beta": [1, -1]}, r"beta=-1.0: must be at least 0\n    in 1 of 2 jobs: beta=-1"),
        ({"bta": [1, 2]}, "bta: no such key; did you mean 'beta'"),
        ({"loss": ["default", "nope"]}, "loss=nope: no such preset"),
        ({"beta": []}, "beta: has no values"),
        ({"beta": 3}, r"beta=3: must be a list of values; give \[3\]"),
    ],
)
def test_mistake_is_refused_before_the_first_job(
    varied: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        nst_exp.sweep(varied, content=GRAY, overrides=TINY, out=tmp_path / "s")
    assert len(raised.traceback) == 2
    assert list(tmp_path.iterdir()) == []
    assert str(raised.value).splitlines()[0] not in "".join(capsys.readouterr())


def test_missing_pandas_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match=r"^sweep: needs pandas; pip install 'nst-exp\[notebook"):
        nst_exp.sweep({"beta": [1, 2]})
