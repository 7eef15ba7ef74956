"""``loss.more``: further style terms of a run."""

from pathlib import Path

from helpers_run import tiny_run

STEP = ["steps=1", "optimizer=adam"]  # the losses of the first step are those of the start
DEVIATION = [
    f"loss.more.deviation.{setting}"
    for setting in ("layers=[fire4]", "weights=[2]", "statistic=std", "relative=true", "weight=3")
]


def test_a_run_with_more_terms(tmp_path: Path) -> None:
    """They count in the total and are logged, but losses.csv keeps its columns."""
    plain = tiny_run(tmp_path / "plain", *STEP)
    result = tiny_run(tmp_path / "more", *STEP, *DEVIATION, "+loss.more.averages.statistic=mean")
    assert result.record["layers"]["deviation"] == ["fire4"]
    assert result.record["layers"]["averages"] == result.record["layers"]["style"]
    losses = result.losses
    assert losses["deviation"] == 2.0 * losses["deviation/fire4"] > 0
    rows = [(tmp_path / name / "losses.csv").read_text().split() for name in ("plain", "more")]
    assert rows[0][0] == rows[1][0]
    assert float(rows[1][1].split(",")[2]) > float(rows[0][1].split(",")[2])
    assert plain.losses.keys() < losses.keys()
