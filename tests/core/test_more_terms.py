"""``loss.more``: further style terms of a run."""

from __future__ import annotations

from pathlib import Path

from helpers_run import TINY, tiny_run

from nst_exp.app.api import make_config
from nst_exp.config.schema import Statistic, StyleTerm
from nst_exp.runner.run import run

STEP = ["steps=1", "optimizer=adam"]  # the losses of the first step are those of the start


def test_a_run_with_more_terms(tmp_path: Path) -> None:
    """They count in the total and are logged, but losses.csv keeps its columns."""
    plain = tiny_run(tmp_path / "plain", *STEP)
    config = make_config([*TINY, *STEP])
    term = StyleTerm(["fire4"], [2.0], Statistic.std, relative=True, weight=3.0)
    config.loss.more = {"deviation": term, "averages": StyleTerm(statistic=Statistic.mean)}
    result = run(config, tmp_path / "more")
    assert result.record["layers"]["deviation"] == ["fire4"]
    assert result.record["layers"]["averages"] == result.record["layers"]["style"]
    losses = result.losses
    assert losses["deviation"] == 2.0 * losses["deviation/fire4"] > 0
    rows = [(tmp_path / name / "losses.csv").read_text().split() for name in ("plain", "more")]
    assert rows[0][0] == rows[1][0]
    assert float(rows[1][1].split(",")[2]) > float(rows[0][1].split(",")[2])
    assert plain.losses.keys() < losses.keys()
