"""Which jobs a report has, which keys vary, and where jobs stand on contact sheets."""

from pathlib import Path
from typing import Any

import pytest
from report_folders import change_record, write_job, write_plan, write_sweep

from nst_exp.report.axes import Sheet, arrange, ordered
from nst_exp.report.entries import read_report
from nst_exp.report.settings import normalize, number, varied_keys
from nst_exp.utils.errors import ConfigError


def sheets_of(folder: Path, *values: dict[str, str]) -> list[Sheet]:
    """Arrange a sweep whose jobs have these values."""
    report = read_report([write_sweep(folder / "s", list(values))])
    return arrange(report.rows, report.varied)


def numbers_of(sheet: Sheet) -> list[list[int | None]]:
    return [[job.number if job else None for job in row] for row in sheet.cells]


def test_values_are_ordered_and_equal_numbers_are_one() -> None:
    assert ordered(["50", "0.5", "1e3", "5", "-2", "5"]) == ["-2", "0.5", "5", "50", "1e3"]
    assert ordered(["wave", "10", "a", "9", "null"]) == ["9", "10", "wave", "a", "null"]
    assert {normalize(text) for text in ("5", "5.0", "5e0", "+5")} == {"5"}
    assert [normalize(text) for text in ("1e3", "0.50")] == ["1000", "0.5"]
    for text in ("nan", "[1,2]", "1_000", "relu1_1", "", "e5", "."):
        assert number(text) is None


def test_one_key_is_an_ordered_row_which_is_wrapped(tmp_path: Path) -> None:
    values = [{"beta": str(n), "style": "wave"} for n in (50, 0.5, *range(60, 68))]
    (sheet,) = sheets_of(tmp_path, *values)
    assert numbers_of(sheet) == [[1, 0, 2, 3, 4, 5, 6, 7], [8, 9]]
    assert sheet.labels[1] == "beta=0.5"  # style does not vary


def test_two_keys_are_a_grid_with_the_longer_one_across(tmp_path: Path) -> None:
    values = [{"beta": b, "style": s} for b in ("50", "0.5", "5") for s in ("wave", "chelsea")]
    (sheet,) = sheets_of(tmp_path, *values)
    assert sheet.columns == ["beta=0.5", "beta=5", "beta=50"]
    assert sheet.row_names == ["style=wave", "style=chelsea"]
    assert numbers_of(sheet) == [[2, 4, 0], [3, 5, 1]]


def test_three_keys_are_several_sheets_whose_names_differ(tmp_path: Path) -> None:
    values = [{"a": a, "b": b, "c": c} for a in ("x/y", "X y") for b in "123" for c in "123"]
    sheets = sheets_of(tmp_path, *values)
    assert [(sheet.name, sheet.title) for sheet in sheets] == [("x_y", "a=x/y"), ("X_y_2", "a=X y")]
    assert all(len(sheet.columns) == len(sheet.row_names) == 3 for sheet in sheets)


def test_sparse_grid_becomes_a_row(tmp_path: Path) -> None:
    (sheet,) = sheets_of(tmp_path, *({"beta": n, "size": n} for n in "123"))
    assert (numbers_of(sheet), sheet.labels[2]) == ([[0, 1, 2]], "beta=3, size=3")


def run_with(*overrides: str, **config: Any) -> tuple[list[str], dict[str, Any]]:
    return list(overrides), config


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        # A preset is one key, whatever it sets.
        ([run_with(f"loss={n}", loss={"a": n, "b": n}) for n in (1, 2)], ["loss"]),
        ([run_with(loss={"a": n}) for n in (1, 2)], ["loss.a"]),  # without a command line
        ([run_with("beta=5", beta=5.0), run_with(beta=0.5)], ["beta"]),
        ([run_with("beta=5", beta=5.0), run_with("beta=5e0", beta=5.0)], []),
        ([run_with("panel=A"), run_with("panel=B")], ["panel"]),
        # A preset that only one command names; what it sets is not counted again.
        ([run_with("loss=a", "beta=1", beta=1, tv=2), run_with(beta=1, tv=1)], ["loss"]),
        ([run_with("beta=1", beta=1, size=n) for n in (8, None)], ["size"]),
        # These do not change the image.
        ([run_with(f"out={n}", f"logging.every={n}", logging={"every": n}) for n in (1, 2)], []),
    ],
)
def test_varied_keys(runs: list[Any], expected: list[str]) -> None:
    assert varied_keys(runs) == expected


def test_without_a_plan_configs_are_compared(tmp_path: Path) -> None:
    for index, beta in enumerate((5.0, 0.5)):
        write_job(tmp_path / f"{index}", index, settings={"beta": beta})
    (tmp_path / "sweep.json").write_text('{"jobs": 3}')  # of another program
    report = read_report([tmp_path])
    assert report.varied == ["beta"]  # and not out, which differs as well
    assert [row.values for row in report.rows] == [{"beta": "5"}, {"beta": "0.5"}]


def test_jobs_before_an_extension_have_values_of_the_new_key(tmp_path: Path) -> None:
    jobs = []
    for index, style in enumerate(("wave", "chelsea")):
        write_job(tmp_path / str(index), index, settings={"style": style})
        values = {"beta": "1"} | ({"style": style} if index else {})
        jobs.append({"number": index, "folder": str(index), "overrides": [], "values": values})
    report = read_report([write_plan(tmp_path, jobs)])
    assert [row.values["style"] for row in report.rows] == ["wave", "chelsea"]


def test_sweeps_with_equal_values_are_distinguished(tmp_path: Path) -> None:
    one, two, three = (
        write_sweep(tmp_path / name, [{"beta": low}, {"beta": high}])
        for name, low, high in (("one", "1", "2"), ("two", "1", "2"), ("three", "3", "4"))
    )
    report = read_report([one, two])
    assert report.varied == ["beta", "sweep"]
    assert [row.values["sweep"] for row in report.rows] == ["one", "one", "two", "two"]
    assert [row.number for row in report.rows] == [0, 1, 2, 3]
    assert read_report([one, three]).varied == ["beta"]
    assert len(read_report([one, one]).rows) == 2


def test_two_sweeps_show_every_key_that_differs(tmp_path: Path) -> None:
    write_sweep(tmp_path / "one", [{"beta": "1"}, {"beta": "2"}])
    settings = {"init": {"kind": "noise"}, "size": 64}
    write_sweep(tmp_path / "two", [{"beta": "1"}, {"beta": "2"}], settings=settings)
    for beta in (1, 2):
        overrides = [f"beta={beta}", "init=noise", "size=64"]
        change_record(tmp_path / f"two/{beta - 1:03d}", overrides=overrides)
    report = read_report([tmp_path / "one", tmp_path / "two"])
    assert report.varied == ["beta", "init", "size"]
    assert report.rows[0].label == "beta=1, init=not given, size=40"
    assert report.rows[3].label == "beta=2, init=noise, size=64"


def test_folder_of_sweeps_and_single_runs(tmp_path: Path) -> None:
    write_sweep(tmp_path / "sweep" / "monday", [{"beta": "1"}, {"beta": "2"}])
    single = write_job(tmp_path / "run" / "tuesday", 5, settings={"beta": 7.0})
    names = [row.run.path.name for row in read_report([tmp_path]).rows]
    assert names == ["tuesday", "000", "001"]
    (row,) = read_report([single]).rows
    assert (row.label, row.run.status) == ("tuesday", "done")


def test_command_of_an_unfinished_job_finishes_it(tmp_path: Path) -> None:
    overrides = ["content=my cat.jpg", "out=elsewhere"]
    folder = write_job(tmp_path / "a b", status="interrupted", overrides=overrides)
    (row,) = read_report([folder]).rows
    assert row.command == f"python -m nst_exp 'content=my cat.jpg' 'out={folder}'"


@pytest.mark.parametrize(("name", "message"), [("no", "no such folder"), ("", "holds no run")])
def test_report_of_nothing(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_report([tmp_path / name])
