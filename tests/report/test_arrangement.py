"""Which jobs a report has, which keys vary, and where jobs stand on contact sheets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from report_folders import write_job, write_plan, write_sweep

from nst_exp.report.axes import Sheet, arrange, ordered, row_length
from nst_exp.report.entries import read_report
from nst_exp.report.settings import normalize, number, varied_keys
from nst_exp.utils.errors import ConfigError


def sheets_of(folder: Path) -> list[Sheet]:
    report = read_report([folder])
    return arrange(report.rows, report.varied)


def numbers_of(sheet: Sheet) -> list[list[int | None]]:
    return [[job.number if job else None for job in row] for row in sheet.cells]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["50", "0.5", "1e3", "5", "-2", "5"], ["-2", "0.5", "5", "50", "1e3"]),
        (["wave", "10", "chelsea", "9", "null"], ["9", "10", "wave", "chelsea", "null"]),
    ],
)
def test_values_are_ordered(values: list[str], expected: list[str]) -> None:
    assert ordered(values) == expected


@pytest.mark.parametrize("text", ["nan", "[1,2]", "1_000", "relu1_1", "", "e5", "."])
def test_other_texts_are_no_numbers(text: str) -> None:
    assert number(text) is None


def test_equal_numbers_are_one_value() -> None:
    assert {normalize(text) for text in ("5", "5.0", "5e0", "+5")} == {"5"}
    assert [normalize(text) for text in ("1e3", "0.50", "wave")] == ["1000", "0.5", "wave"]
    assert normalize("12345678901234567890") == "12345678901234567890"


def test_one_key_is_an_ordered_row(tmp_path: Path) -> None:
    values = [{"beta": value, "style": "wave"} for value in ("50", "0.5", "5")]
    (sheet,) = sheets_of(write_sweep(tmp_path / "s", values))
    assert numbers_of(sheet) == [[1, 2, 0]]
    assert sheet.labels == {0: "beta=50", 1: "beta=0.5", 2: "beta=5"}  # style does not vary


def test_long_row_is_wrapped_evenly(tmp_path: Path) -> None:
    (sheet,) = sheets_of(write_sweep(tmp_path / "s", [{"seed": str(n)} for n in range(12)]))
    assert [len(row) for row in sheet.cells] == [6, 6]
    assert [row_length(count) for count in (1, 8, 9, 20, 100)] == [1, 8, 5, 7, 10]


def test_two_keys_are_a_grid_with_the_longer_one_across(tmp_path: Path) -> None:
    values = [{"beta": b, "style": s} for b in ("50", "0.5", "5") for s in ("wave", "chelsea")]
    (sheet,) = sheets_of(write_sweep(tmp_path / "s", values))
    assert sheet.columns == ["beta=0.5", "beta=5", "beta=50"]
    assert sheet.row_names == ["style=wave", "style=chelsea"]
    assert numbers_of(sheet) == [[2, 4, 0], [3, 5, 1]]


def test_three_keys_are_several_sheets(tmp_path: Path) -> None:
    values = [
        {"init": i, "beta": b, "style": s}
        for i in ("noise", "content")
        for b in ("1", "10", "100")
        for s in ("a", "b", "c")
    ]
    sheets = sheets_of(write_sweep(tmp_path / "s", values))
    titles = [("noise", "init=noise"), ("content", "init=content")]
    assert [(sheet.name, sheet.title) for sheet in sheets] == titles
    assert all(len(sheet.columns) == len(sheet.row_names) == 3 for sheet in sheets)


def test_sparse_grid_becomes_a_row(tmp_path: Path) -> None:
    values = [{"beta": str(n), "size": str(n)} for n in (1, 2, 3)]
    (sheet,) = sheets_of(write_sweep(tmp_path / "s", values))
    assert (numbers_of(sheet), sheet.labels[2]) == ([[0, 1, 2]], "beta=3, size=3")


def test_names_of_sheets_differ_on_any_system(tmp_path: Path) -> None:
    values = [{"a": a, "b": b, "c": c} for a in ("x/y", "X y") for b in "12" for c in "12"]
    names = [sheet.name for sheet in sheets_of(write_sweep(tmp_path / "s", values))]
    assert len({name.lower() for name in names}) == 2


# ------------------------------------------------------------------------------------ varied keys


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
        # These do not change the image.
        ([run_with(f"out={n}", f"logging.every={n}", logging={"every": n}) for n in (1, 2)], []),
    ],
)
def test_varied_keys(runs: list[Any], expected: list[str]) -> None:
    assert varied_keys(runs) == expected


def test_without_a_plan_configs_are_compared(tmp_path: Path) -> None:
    for index, beta in enumerate((5.0, 0.5)):
        write_job(tmp_path / f"{index}", index, settings={"beta": beta})
    report = read_report([tmp_path])
    assert report.varied == ["beta"]  # and not out, which differs as well
    assert [row.values for row in report.rows] == [{"beta": "5"}, {"beta": "0.5"}]


def test_jobs_before_an_extension_have_values_of_the_new_key(tmp_path: Path) -> None:
    write_job(tmp_path / "0", 0, settings={"style": "wave"})
    write_job(tmp_path / "1", 1)
    jobs: list[dict[str, Any]] = [
        {"number": 0, "folder": "0", "overrides": ["beta=1"], "values": {"beta": "1"}},
        {
            "number": 1,
            "folder": "1",
            "overrides": ["beta=1", "style=chelsea"],
            "values": {"beta": "1", "style": "chelsea"},
        },
    ]
    report = read_report([write_plan(tmp_path, jobs)])
    assert [row.values["style"] for row in report.rows] == ["wave", "chelsea"]


def test_sweeps_with_equal_values_are_distinguished(tmp_path: Path) -> None:
    one = write_sweep(tmp_path / "one", [{"beta": "1"}, {"beta": "2"}])
    two = write_sweep(tmp_path / "two", [{"beta": "1"}, {"beta": "2"}])
    report = read_report([one, two])
    assert report.varied == ["beta", "sweep"]
    assert [row.number for row in report.rows] == [0, 1, 2, 3]
    three = write_sweep(tmp_path / "three", [{"beta": "3"}, {"beta": "4"}])
    assert read_report([one, three]).varied == ["beta"]
    assert len(read_report([one, one]).rows) == 2


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


def test_report_of_nothing() -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        read_report([Path("nowhere")])
    assert arrange(read_report([]).rows, []) == []
