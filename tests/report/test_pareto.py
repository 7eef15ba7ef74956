"""The best compromises: against brute force, and as files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from helpers_run import picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nst_exp.report.pareto import front, main, write_pareto
from nst_exp.utils.errors import ConfigError, OutputError

# Few values, so that ties and equal points are frequent.
POINTS = st.lists(st.tuples(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), st.integers(0, 4).map(float)))


def dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] <= other[1] and one != other


@given(POINTS | st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1))))
def test_front_is_what_nothing_dominates(points: list[tuple[float, float]]) -> None:
    expected = [
        index
        for index, point in enumerate(points)
        if not any(dominates(other, point) for other in points)
    ]
    found = front(points)
    assert sorted(found) == expected
    along = [points[index] for index in found]
    assert along == sorted(along)
    assert [point[1] for point in along] == sorted((point[1] for point in along), reverse=True)


def test_front_of_a_few_points() -> None:
    assert front([]) == []
    assert front([(3.0, 1.0), (1.0, 3.0), (2.0, 3.0), (3.0, 3.0), (1.0, 3.0)]) == [1, 4, 0]


def sweep(folder: Path, points: list[tuple[float, float] | None], metrics: bool = True) -> Path:
    """Runs as their folders show them; None for one that failed."""
    for number, point in enumerate(points):
        job = folder / f"{number:03d}_beta={number}"
        job.mkdir(parents=True)
        record: dict[str, object] = {"status": "failed", "config": {"image": "image.png"}}
        if point is not None:
            picture(job / "image.png", (60, 40), seed=number)
            record["status"] = "done"
            names = ("content_distance", "style_distance") if metrics else ("content", "style")
            record["metrics" if metrics else "losses"] = dict(zip(names, point, strict=True))
        (job / "result.json").write_text(json.dumps(record))
    jobs = [
        {
            "number": number,
            "folder": f"{number:03d}_beta={number}",
            "overrides": [f"beta={number}"],
            "values": {"beta": str(number)},
        }
        for number in range(len(points))
    ]
    (folder / "sweep.json").write_text(json.dumps({"launch": [], "jobs": jobs}))
    return folder


@pytest.mark.parametrize("metrics", [True, False])
def test_files(tmp_path: Path, metrics: bool, capsys: pytest.CaptureFixture[str]) -> None:
    folder = sweep(tmp_path / "s", [(3.0, 1.0), (2.0, 2.0), (3.0, 2.0), None, (1.0, 3.0)], metrics)
    assert main([str(folder)]) == 0
    assert "pareto.csv" in capsys.readouterr().out
    rows = list(csv.DictReader((folder / "pareto.csv").open()))
    name = "content_distance" if metrics else "content"
    assert [(row["job"], row[name], row["beta"]) for row in rows] == [
        ("004_beta=4", "1.0", "4"),
        ("001_beta=1", "2.0", "1"),
        ("000_beta=0", "3.0", "0"),
    ]
    with Image.open(folder / "pareto.png") as sheet:
        assert sheet.width > 3 * 160
        first = sheet.convert("RGB").tobytes()
    assert main([str(folder)]) == 0  # files of its own are replaced
    with Image.open(folder / "pareto.png") as sheet:
        assert sheet.convert("RGB").tobytes() == first


def test_metrics_of_some_jobs_are_not_mixed_with_losses_of_others(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "s", [(1.0, 2.0), (5.0, 6.0)], metrics=False)
    path = folder / "001_beta=1/result.json"
    record = json.loads(path.read_text())
    record["metrics"] = {"content_distance": 0.1, "style_distance": 0.1}
    path.write_text(json.dumps(record))
    write_pareto(folder, folder)
    rows = list(csv.DictReader((folder / "pareto.csv").open()))
    assert [(row["job"], row["content"]) for row in rows] == [("000_beta=0", "1.0")]


def test_runs_without_numbers_are_refused(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "s", [(1.0, float("nan"))])
    with pytest.raises(ConfigError, match="has both content and style"):
        write_pareto(folder, folder)


def test_different_losses_without_metrics_are_refused(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "s", [(1.0, 2.0), (2.0, 1.0)], metrics=False)
    path = folder / "000_beta=0/result.json"
    record = json.loads(path.read_text())
    record["config"]["loss"] = {"other": 1}
    path.write_text(json.dumps(record))
    with pytest.raises(ConfigError, match="cannot be compared"):
        write_pareto(folder, folder)


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nothing")]) == 2
    assert main([str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "no such folder" in said
    assert "no finished run" in said
    folder = sweep(tmp_path / "s", [(1.0, 2.0)])
    (folder / "pareto.csv").write_text("my own table")
    with pytest.raises(OutputError, match="was not made here"):
        write_pareto(folder, folder)
    assert (folder / "pareto.csv").read_text() == "my own table"
    assert main([str(folder), "--out", str(tmp_path / "new/place")]) == 0
    assert (tmp_path / "new/place/pareto.png").is_file()
