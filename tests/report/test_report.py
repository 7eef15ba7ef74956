"""Reports from runs' folders: what is where, in which order, and what comes from users."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_run import pixels, tiny_run
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nst_exp.report import table, write_report
from nst_exp.report.__main__ import main
from nst_exp.report.axes import Grid, grids, number, ordered, row_length
from nst_exp.report.contact_sheet import MAX_WIDTH, draw_sheet
from nst_exp.report.data_uris import LADDER, embedded
from nst_exp.report.entries import Report, read_report
from nst_exp.report.html import render
from nst_exp.report.html_data import page_data
from nst_exp.report.table import WIDTH, as_csv
from nst_exp.report.varied_keys import varied_keys
from nst_exp.results.losses_csv import read_losses
from nst_exp.utils.errors import ConfigError, OutputError

SIZE = (40, 30)
NASTY = """</script><script>alert("x")</script>'&"""


def color(index: int) -> tuple[int, int, int]:
    """Of the picture of job ``index``: told apart on the sheet and in the page."""
    return (10 + 20 * (index % 11), 200 - 15 * (index % 9), 60 + 7 * (index % 13))


def write_job(
    folder: Path,
    index: int = 0,
    *,
    status: str = "done",
    settings: Mapping[str, Any] | None = None,
    steps: tuple[int, ...] = (),
    **values: Any,
) -> Path:
    """The folder that a run leaves, without the run; ``values`` go into its record."""
    folder.mkdir(parents=True)
    record = {
        "status": status,
        "inputs": {},
        "losses": {"total": 1.5 + index, "content": 0.5, "style": 0.25, "tv": 0.125, "x/relu": 9.0},
        "metrics": {"ssim": 0.5 + index / 100},
        "seconds": 2.5,
        "evaluations": 12,
        "step": 10,
        "width": SIZE[0],
        "height": SIZE[1],
        "warnings": [],
        "substituted": [],
        "config": {
            "content": "chelsea",
            "style": "starry_night",
            "beta": 5.0,
            "seed": 0,
            "size": 40,
            "steps": 10,
            "image": "image.png",
            "out": str(folder),
            "panel": None,
            "backbone": {"name": "vgg16", "weights": "pretrained", "input": "caffe"},
            "logging": {"every": 1},
            **(settings or {}),
        },
        **values,
    }
    (folder / "result.json").write_text(json.dumps(record), encoding="utf-8")
    if status == "done":
        Image.new("RGB", SIZE, color(index)).save(folder / "image.png")
    for step in steps:
        (folder / "snapshots").mkdir(exist_ok=True)
        Image.new("RGB", SIZE, (step, step, step)).save(folder / f"snapshots/step_{step:06d}.png")
    return folder


def write_sweep(folder: Path, values: list[dict[str, str]], **settings: Any) -> Path:
    """A sweep with one finished job for each of ``values``."""
    jobs = []
    for index, own in enumerate(values):
        name = f"{index:03d}"
        write_job(folder / name, index, **settings)
        words = [f"{key}={value}" for key, value in own.items()]
        jobs.append({"number": index, "folder": name, "overrides": words, "values": own})
    return write_plan(folder, jobs, list(values[0]))


def write_plan(folder: Path, jobs: list[dict[str, Any]], varied: list[str]) -> Path:
    """``sweep.json`` as the command leaves it."""
    folder.mkdir(exist_ok=True)
    plan = {"version": 1, "command": ["-m"], "varied": varied, "jobs": jobs}
    (folder / "sweep.json").write_text(json.dumps(plan), encoding="utf-8")
    return folder


def layout(folder: Path) -> list[Grid]:
    """How the sheets of a sweep are arranged."""
    report = read_report([folder])
    return grids(report.entries, report.varied)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of ``results.csv``."""
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


class Page(html.parser.HTMLParser):
    """What a browser finds in the page: its tags, what they refer to, and the data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.inside = ""
        self.texts: dict[str, str] = {}
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append(tag)
        self.references += [
            value or "" for key, value in attrs if key in ("src", "href", "action", "data")
        ]
        self.inside = attributes.get("id") or tag
        if tag not in ("meta", "link", "input", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts[self.inside] = self.texts.get(self.inside, "") + data

    @property
    def data(self) -> dict[str, Any]:
        """What the script is given."""
        found: dict[str, Any] = json.loads(self.texts["data"])
        return found


# ------------------------------------------------------------------------------------ the axes


def test_values_are_in_order_of_size_and_texts_as_given() -> None:
    assert ordered(["50", "0.5", "1e3", "5", "-2", "5"]) == ["-2", "0.5", "5", "50", "1e3"]
    assert ordered(["wave", "10", "chelsea", "9", "null"]) == ["9", "10", "wave", "chelsea", "null"]
    assert ordered(["5.0", "1e0", "5", "1"]) == ["1e0", "5.0"]  # one of two equal numbers


@pytest.mark.parametrize("text", ["nan", "[1,2]", "1_000", "relu1_1", "", "e5", "."])
def test_texts_that_are_no_numbers(text: str) -> None:
    assert number(text) is None


def test_one_key_is_a_row_in_order(tmp_path: Path) -> None:
    (grid,) = layout(write_sweep(tmp_path / "s", [{"beta": v} for v in ("50", "0.5", "5")]))
    assert [entry.number for entry in grid.entries] == [1, 2, 0]
    assert len(grid.cells) == 1
    assert grid.labels == {0: "beta = 50", 1: "beta = 0.5", 2: "beta = 5"}


def test_long_row_is_wrapped_evenly(tmp_path: Path) -> None:
    (grid,) = layout(write_sweep(tmp_path / "s", [{"seed": str(n)} for n in range(12)]))
    assert [len(row) for row in grid.cells] == [6, 6]
    assert [row_length(count) for count in (1, 8, 9, 20, 100)] == [1, 8, 5, 7, 10]


def test_two_keys_are_a_grid_with_the_longer_one_across(tmp_path: Path) -> None:
    values = [{"beta": b, "style": s} for b in ("50", "0.5", "5") for s in ("wave", "chelsea")]
    (grid,) = layout(write_sweep(tmp_path / "s", values))
    assert grid.columns == ["beta = 0.5", "beta = 5", "beta = 50"]
    assert grid.rows == ["style = wave", "style = chelsea"]
    numbers = [[entry.number if entry else None for entry in row] for row in grid.cells]
    assert numbers == [[2, 4, 0], [3, 5, 1]]


def test_three_keys_are_several_sheets(tmp_path: Path) -> None:
    values = [
        {"init": i, "beta": b, "style": s}
        for i in ("noise", "content")
        for b in ("1", "10", "100")
        for s in ("a", "b", "c")
    ]
    sheets = layout(write_sweep(tmp_path / "s", values))
    assert [(grid.name, grid.title) for grid in sheets] == [
        ("noise", "init = noise"),
        ("content", "init = content"),
    ]
    assert all(len(grid.columns) == 3 and len(grid.rows) == 3 for grid in sheets)


def test_key_with_one_value_is_no_axis(tmp_path: Path) -> None:
    values = [{"beta": b, "style": "wave"} for b in ("1", "2")]
    (grid,) = layout(write_sweep(tmp_path / "s", values))
    assert grid.labels == {0: "beta = 1", 1: "beta = 2"}


def test_sparse_grid_becomes_a_row(tmp_path: Path) -> None:
    values = [{"beta": str(n), "size": str(n)} for n in (1, 2, 3)]
    (grid,) = layout(write_sweep(tmp_path / "s", values))
    assert grid.labels[2] == "beta = 3, size = 3"
    assert [len(row) for row in grid.cells] == [3]


def test_values_with_the_same_name_on_disk_have_sheets_of_their_own(tmp_path: Path) -> None:
    values = [{"a": a, "b": b, "c": c} for a in ("x/y", "X y") for b in "12" for c in "12"]
    write_sweep(tmp_path / "s", values)
    # All keys have two values: the first one stays outside.
    names = [grid.name for grid in layout(tmp_path / "s")]
    assert len(names) == len({name.lower() for name in names}) == 2


# ------------------------------------------------------------------------------- what varies


def test_without_a_plan_the_settings_are_compared(tmp_path: Path) -> None:
    for index, beta in enumerate((5.0, 0.5)):
        write_job(tmp_path / f"{index}", index, settings={"beta": beta})
    report = read_report([tmp_path])
    assert report.varied == ["beta"]  # and not out, which differs as well
    assert [entry.values for entry in report.entries] == [{"beta": "5"}, {"beta": "0.5"}]


def test_group_of_presets_is_one_key_where_the_commands_are_known() -> None:
    def run(name: str, mean: float) -> tuple[list[str], dict[str, Any]]:
        return [f"loss={name}", "out=x"], {"loss": {"style": {"a": mean}, "tv": {"weight": mean}}}

    assert varied_keys([run("default", 2.0), run("jcjohnson", 1.0)]) == ["loss"]
    without = [([], settings) for _, settings in (run("default", 2.0), run("jcjohnson", 1.0))]
    assert varied_keys(without) == ["loss.style.a"]


def test_settings_that_do_not_change_the_picture_are_left_out() -> None:
    def run(n: int) -> tuple[list[str], dict[str, Any]]:
        logging = {"logging": {"every": n}, "trainer": {"threads": n}, "overwrite": n > 1}
        return [f"out={n}", f"logging.every={n}"], logging

    assert varied_keys([run(1), run(2)]) == ["trainer.threads"]
    assert varied_keys([run(1), run(1)]) == []


def test_extended_sweep_has_the_settings_of_its_earlier_jobs(tmp_path: Path) -> None:
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
    report = read_report([write_plan(tmp_path, jobs, ["beta", "style"])])
    assert [entry.values["style"] for entry in report.entries] == ["wave", "chelsea"]


def test_several_sweeps_are_told_apart_where_their_values_are_equal(tmp_path: Path) -> None:
    one = write_sweep(tmp_path / "one", [{"beta": "1"}, {"beta": "2"}])
    two = write_sweep(tmp_path / "two", [{"beta": "1"}, {"beta": "2"}])
    report = read_report([one, two])
    assert report.varied == ["beta", "sweep"]
    assert [entry.number for entry in report.entries] == [0, 1, 2, 3]
    three = write_sweep(tmp_path / "three", [{"beta": "3"}, {"beta": "4"}])
    assert read_report([one, three]).varied == ["beta"]


def test_same_folder_twice_is_there_once(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", [{"beta": "1"}, {"beta": "2"}])
    assert len(read_report([sweep, sweep]).entries) == 2


def test_folder_of_sweeps_and_single_run(tmp_path: Path) -> None:
    write_sweep(tmp_path / "sweep" / "monday", [{"beta": "1"}, {"beta": "2"}])
    single = write_job(tmp_path / "run" / "tuesday", 5, settings={"beta": 7.0})
    assert [e.folder.name for e in read_report([tmp_path]).entries] == ["tuesday", "000", "001"]
    (entry,) = read_report([single]).entries
    assert (entry.label, entry.status) == ("tuesday", "done")


# ---------------------------------------------------------------------------------- the sheet


def sheet_of(folder: Path) -> np.ndarray[Any, Any]:
    """The pixels of ``sheet.png``."""
    return pixels(folder / "sheet.png")


def places(sheet: np.ndarray[Any, Any], index: int) -> tuple[int, int, int, int]:
    """Left, top, width and height of where a job's color is."""
    rows, columns = np.nonzero((sheet == color(index)).all(axis=2))
    return (
        int(columns.min()),
        int(rows.min()),
        int(np.ptp(columns)) + 1,
        int(np.ptp(rows)) + 1,
    )


def test_pictures_are_where_their_values_say(tmp_path: Path) -> None:
    values = [{"beta": b, "style": s} for b in ("50", "0.5", "5") for s in ("wave", "chelsea")]
    write_report([write_sweep(tmp_path / "s", values)], tmp_path / "s")
    found = {index: places(sheet_of(tmp_path / "s"), index) for index in range(6)}
    for row in ((2, 4, 0), (3, 5, 1)):
        assert sorted(row, key=lambda index: found[index][0]) == list(row)
        assert len({found[index][1] for index in row}) == 1
    assert found[3][1] > found[2][1]
    # Small pictures are enlarged twice at most.
    assert {place[2:] for place in found.values()} == {(2 * SIZE[0], 2 * SIZE[1])}


def test_equal_folders_give_equal_sheets(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", [{"beta": "1"}, {"beta": "2"}])
    write_report([sweep], tmp_path / "a")
    write_report([sweep], tmp_path / "b")
    assert (tmp_path / "a/sheet.png").read_bytes() == (tmp_path / "b/sheet.png").read_bytes()


def test_wide_sheets_keep_within_their_width(tmp_path: Path) -> None:
    values = [{"seed": str(s), "beta": str(b)} for s in range(30) for b in range(2)]
    report = read_report([write_sweep(tmp_path / "s", values)])
    (grid,) = grids(report.entries, report.varied)
    large = {entry.number: Image.new("RGB", (512, 300)) for entry in report.entries}
    assert 3000 < draw_sheet("s", "", grid, large).width <= MAX_WIDTH


def test_unfinished_jobs_are_empty_frames(tmp_path: Path, monkeypatch: Any) -> None:
    words: list[str] = []
    jobs: list[dict[str, Any]] = []
    for index, status in enumerate(["done", "failed", "interrupted", "running", "missing"]):
        values = {"beta": str(index)}
        jobs.append({"number": index, "folder": status, "overrides": [], "values": values})
        if status != "missing":
            write_job(tmp_path / "s" / status, index, status=status, error="Oops: it broke\nbadly")
    write_plan(tmp_path / "s", jobs, ["beta"])

    def frame(note: str, size: tuple[int, int], text: int) -> Image.Image:
        words.append(note)
        return Image.new("RGB", size, "white")

    monkeypatch.setattr("nst_exp.report.contact_sheet.empty", frame)
    write_report([tmp_path / "s"], tmp_path / "s")
    assert words == ["failed", "interrupted", "unfinished", "missing"]
    assert places(sheet_of(tmp_path / "s"), 0)
    rows = read_csv(tmp_path / "s" / "results.csv")
    assert [row["status"] for row in rows] == [job["folder"] for job in jobs]
    assert rows[1]["error"] == "Oops: it broke\nbadly"
    assert [row["total_loss"] for row in rows] == ["1.5", "2.5", "3.5", "4.5", ""]


def test_shared_inputs_are_shown_only_as_they_were(tmp_path: Path) -> None:
    from hashlib import sha256

    from nst_exp.report.images import shared_inputs

    Image.new("RGB", (60, 40), "red").save(tmp_path / "c.png")
    Image.new("RGB", (60, 40), "blue").save(tmp_path / "s.png")
    entry = {
        key: {
            "path": str(tmp_path / f"{key[0]}.png"),
            "sha256": sha256((tmp_path / f"{key[0]}.png").read_bytes()).hexdigest(),
        }
        for key in ("content", "style")
    }
    sweep = write_sweep(tmp_path / "sweep", [{"beta": "1"}, {"beta": "2"}], inputs=entry)
    Image.new("RGB", (60, 40), "green").save(tmp_path / "s.png")
    content, style = shared_inputs(read_report([sweep]), 50)
    assert content.picture is not None
    assert content.picture.getpixel((5, 5)) == (255, 0, 0)
    assert (style.picture, style.note) == (None, "changed")


def test_sheets_of_other_keys_do_not_stay(tmp_path: Path) -> None:
    values = [{"a": a, "b": b, "c": c} for a in "12" for b in "123" for c in "123"]
    sweep = write_sweep(tmp_path / "s", values)
    out = tmp_path / "out"
    names = [path.name for path in write_report([sweep], out)]
    assert names == ["sheet_1.png", "sheet_2.png", "results.csv", "report.html", "_summary"]
    Image.new("RGB", (4, 4)).save(out / "sheet_own.png")  # a person's
    write_report([write_sweep(tmp_path / "t", [{"beta": "1"}, {"beta": "2"}])], out)
    assert sorted(path.name for path in out.glob("*.png")) == ["sheet.png", "sheet_own.png"]


# ---------------------------------------------------------------------------------- the table


def test_csv_has_everything_that_is_known(tmp_path: Path) -> None:
    value = 'a "quoted", value\nof two lines'
    sweep = write_sweep(tmp_path / "s", [{"style": value}, {"style": "[relu1_1,relu2_1]"}])
    write_report([sweep], sweep)
    first, second = read_csv(sweep / "results.csv")
    assert first == {
        "number": "0",
        "folder": "000",
        "status": "done",
        "style": value,
        "total_loss": "1.5",
        "content_loss": "0.5",
        "style_loss": "0.25",
        "tv_loss": "0.125",
        "ssim": "0.5",
        "seconds": "2.5",
        "evaluations": "12",
        "width": "40",
        "height": "30",
        "error": "",
    }
    assert second["style"] == "[relu1_1,relu2_1]"


def test_numbers_that_are_none_are_empty(tmp_path: Path) -> None:
    values: dict[str, Any] = {"metrics": {"ssim": float("nan"), "words": "x", "flag": True}}
    write_job(tmp_path / "a", losses={"total": float("inf")}, seconds=None, **values)
    text = as_csv(read_report([tmp_path]))
    assert "nan" not in text
    assert "inf" not in text
    assert text.splitlines()[0].endswith("tv_loss,seconds,evaluations,width,height,error")


def test_text_table_fits_the_terminal(tmp_path: Path) -> None:
    values = [{"style": f"{'long ' * 30}{n}", "loss.content.layers": "[relu4_2]"} for n in range(3)]
    sweep = write_sweep(tmp_path / "s", values, status="failed", error="E: one\ntwo")
    lines = table([sweep]).splitlines()
    assert len(lines) == 4
    assert all(len(line) <= WIDTH for line in lines)
    assert lines[1].endswith("E: one")
    assert "1.500e+00" in lines[1]


def test_text_table_shows_distances_where_they_are_measured(tmp_path: Path) -> None:
    metrics = {"content_distance": 0.75, "style_distance": 0.875}
    sweep = write_sweep(tmp_path / "s", [{"beta": "1"}, {"beta": "2"}], metrics=metrics)
    header, first, _ = table([sweep]).splitlines()
    words = ["beta", "status", "total", "content", "dist", "style", "dist", "seconds"]
    assert header.split() == words
    assert first.split() == ["0", "1", "done", "1.500e+00", "7.500e-01", "8.750e-01", "2.5"]


# ----------------------------------------------------------------------------------- the page


def test_page_is_whole_and_refers_to_nothing_outside(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", [{"beta": "1"}, {"beta": "2"}], steps=(0, 5, 10))
    write_report([sweep], sweep)
    text = (sweep / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert all(reference.startswith(("#", "data:")) for reference in page.references)
    outside = re.findall(r"https?://[^\s\"')]*", text)
    assert set(outside) <= {"http://www.w3.org/2000/svg"}  # the name of a namespace
    assert "@import" not in text
    assert "{{" not in text.replace("${", "")
    first, second = page.data["jobs"]
    assert [step for step, _ in first["snapshots"]] == [0, 5, 10]
    assert second["command"] == "python -m nst_exp beta=2"
    assert all(uri.startswith("data:image/webp;base64,") for _, uri in first["snapshots"])
    assert page.data["sheets"][0]["cells"] == [[0, 1]]


def test_what_users_write_stays_text(tmp_path: Path) -> None:
    sweep = write_sweep(
        tmp_path / "<b>'s",
        [{NASTY: NASTY, "style": "{{script}}"}, {NASTY: "b", "style": "<!--"}],
        warnings=[NASTY],
        substituted=[{"backbone": "vgg19", "by": NASTY, "because": "none answers"}],
        metrics={f"m {NASTY}": 1.0},
    )
    write_report([sweep], tmp_path / "out")
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags.count("script") == 2  # the data and the page's own
    assert "<script>alert" not in text
    assert "<b>" not in text
    assert page.texts["title"].strip() == "<b>'s"
    job = page.data["jobs"][0]
    assert job["values"] == [NASTY, "{{script}}"]
    assert job["notes"] == [NASTY, f"{NASTY} in place of vgg19: none answers"]
    assert read_csv(tmp_path / "out" / "results.csv")[0][NASTY] == NASTY


def test_only_the_pages_own_script_may_run(tmp_path: Path) -> None:
    import base64
    import hashlib

    report = read_report([write_sweep(tmp_path / "s", [{"beta": "1"}])])
    text = render(page_data(report, grids(report.entries, report.varied)))
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text


def test_command_of_an_unfinished_job_finishes_it(tmp_path: Path) -> None:
    folder = write_job(tmp_path / "a b", status="interrupted")
    record = json.loads((folder / "result.json").read_text())
    record["overrides"] = ["content=my cat.jpg", "out=elsewhere"]
    (folder / "result.json").write_text(json.dumps(record))
    (entry,) = read_report([folder]).entries
    assert entry.command == f"python -m nst_exp 'content=my cat.jpg' 'out={folder}'"


def test_pictures_keep_their_budget() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 250, 3), dtype=np.uint8)

    def source(side: int) -> Image.Image:
        picture = Image.fromarray(noise)
        picture.thumbnail((side, side))
        return picture

    sources = dict.fromkeys(range(20), source)
    for budget in (10**8, 700_000, 60_000):
        found, coding = embedded(sources, budget)
        assert list(found) == list(range(20))
        assert sum(map(len, found.values())) <= budget
        assert (coding.quality is None) == (budget == 10**8)
    assert embedded({0: source}, 1)[1] == LADDER[-1]  # nothing is left out
    assert embedded({0: lambda side: None}, 10**6)[0] == {}


def test_curve_without_losses_csv_comes_from_tensorboard(tmp_path: Path) -> None:
    tiny_run(tmp_path / "run")
    report = read_report([tmp_path / "run"])
    direct = page_data(report, [])["jobs"][0]["curve"]
    assert [row[0] for row in direct] == [1, 2, 3, 4, 5]
    assert len(read_losses(tmp_path / "run" / "losses.csv")) == 5
    (tmp_path / "run" / "losses.csv").unlink()
    # Five digits of float32 on both ways.
    assert page_data(report, [])["jobs"][0]["curve"] == direct


def test_summary_for_tensorboard(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", [{"beta": "1|2"}, {"beta": "<i>"}])
    for _ in range(2):  # a second report replaces the first
        write_report([sweep], sweep)
    assert len(list((sweep / "_summary").iterdir())) == 1
    events = EventAccumulator(str(sweep / "_summary"))
    events.Reload()
    (image,) = events.Images("sheet")
    assert image.width == pixels(sweep / "sheet.png").shape[1]
    text = events.Tensors("results/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| 1&#124;2 | done |" in text
    assert "&#60;i>" in text


# ------------------------------------------------------------------------------------ the rest


def test_command_writes_into_the_folder_and_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = write_sweep(tmp_path / "s", [{"beta": "1"}, {"beta": "2"}])
    for _ in range(2):
        assert main([str(sweep)]) == 0
        names = ("sheet.png", "results.csv", "report.html", "_summary")
        lines = [f"report: {sweep / name}" for name in names]
        assert capsys.readouterr().out.splitlines() == lines


def test_command_for_several_writes_into_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_sweep(Path("one"), [{"beta": "1"}])
    write_job(Path("two"), 1, settings={"beta": 2.0})
    assert main(["one", "two"]) == 0
    folders = [row["folder"] for row in read_csv(Path("report/results.csv"))]
    assert folders == ["one/000", "two"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "no such folder"),
        (lambda folder: folder.mkdir(), "holds no run"),
        (lambda folder: write_plan(folder, [], []), "is damaged or names no job"),
        (
            lambda folder: write_plan(
                folder, [{"number": "x", "folder": "a", "overrides": [], "values": {}}], []
            ),
            "is damaged or names no job",
        ),
    ],
)
def test_command_says_in_one_line_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Any, words: str
) -> None:
    make(tmp_path / "x")
    assert main([str(tmp_path / "x")]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize("name", ["sheet.png", "results.csv", "report.html"])
def test_files_of_others_are_kept(tmp_path: Path, name: str) -> None:
    sweep = write_sweep(tmp_path / "s", [{"beta": "1"}, {"beta": "2"}])
    before = sorted(path.name for path in sweep.iterdir())
    (sweep / name).write_text("mine")
    with pytest.raises(OutputError, match="comes from no report"):
        write_report([sweep], sweep)
    assert (sweep / name).read_text() == "mine"
    assert sorted(path.name for path in sweep.iterdir()) == sorted([*before, name])


def test_damaged_records_do_not_stop_a_report(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", [{"beta": "1"}, {"beta": "2"}, {"beta": "3"}])
    (sweep / "000" / "result.json").write_text('{"status": "do')
    (sweep / "001" / "image.png").write_bytes(b"no picture")
    (sweep / "001" / "losses.csv").write_bytes(b"\xff\xfe")
    record = json.loads((sweep / "002" / "result.json").read_text())
    record |= {"losses": [1], "metrics": "x", "warnings": None, "substituted": None, "error": 5}
    (sweep / "002" / "result.json").write_text(json.dumps(record))
    write_report([sweep], sweep)
    rows = read_csv(sweep / "results.csv")
    assert [row["status"] for row in rows] == ["missing", "done", "done"]
    assert Page((sweep / "report.html").read_text()).data["jobs"][1]["picture"] is None


def test_report_of_no_folder() -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        table([Path("nowhere")])
    assert grids([], []) == []
    assert isinstance(read_report([]), Report)


# --------------------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, driven by Playwright, where both are there."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page_in_browser(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """The page of four jobs; nothing may be requested beside it, and nothing complain."""
    values = [{"beta": b, "style": s} for b in ("50", "0.5") for s in (NASTY, "wave")]
    sweep = write_sweep(tmp_path / "s", values, steps=(0, 5, 10), warnings=[NASTY])
    for index, folder in enumerate(sorted(sweep.glob("0*"))):
        rows = [f"{n},{n},{9 / n + index},{5 / n},{4 / n},0.5" for n in range(1, 11)]
        header = "step,evaluations,total,content,style,tv"
        (folder / "losses.csv").write_text("\n".join([header, *rows, ""]))
    write_report([sweep], sweep)
    complaints: list[str] = []
    requests: list[str] = []
    page = browser.new_page(viewport={"width": 1000, "height": 800})
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))
    address = (sweep / "report.html").as_uri()
    page.goto(address)
    yield page
    page.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [address]


def column(page: Any, place: int) -> list[str]:
    """The texts of a column of the table, as shown."""
    return [
        text.strip()
        for text in page.locator(f"#jobs tbody td:nth-child({place})").all_inner_texts()
    ]


@pytest.mark.slow
def test_browser_sorts_the_table(page_in_browser: Any) -> None:
    page = page_in_browser
    header = page.locator("#jobs th", has_text="beta")
    assert column(page, 2) == ["50", "50", "0.5", "0.5"]
    header.locator("button").focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    assert column(page, 2) == ["0.5", "0.5", "50", "50"]
    assert column(page, 1) == ["2", "3", "0", "1"]
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert column(page, 1) == ["0", "1", "2", "3"]
    assert page.locator('#jobs th[aria-sort="descending"]').count() == 1
    assert column(page, 3)[0] == NASTY  # as text


@pytest.mark.slow
def test_browser_flips_through_the_snapshots(page_in_browser: Any) -> None:
    page = page_in_browser
    first = page.locator("#time-pictures img").first
    assert page.locator("#time-shown").inner_text() == "10 of 10"
    last = first.get_attribute("src")
    page.locator("#time-step").focus()
    page.keyboard.press("Home")
    assert page.locator("#time-shown").inner_text() == "0 of 10"
    assert first.get_attribute("src") != last
    page.keyboard.press("ArrowRight")
    assert page.locator("#time-shown").inner_text() == "5 of 10"
    assert (first.get_attribute("alt") or "").endswith("step 5")


@pytest.mark.slow
def test_browser_shows_the_difference_of_two_jobs(page_in_browser: Any) -> None:
    page = page_in_browser
    page.locator('.cell[data-job="1"]').click()
    page.locator("#compare-b").select_option("3")
    page.locator("#compare-factor").fill("3")

    def middle() -> list[int]:
        pixel: list[int] = page.evaluate(
            """() => [...document.getElementById("compare-canvas").getContext("2d")
                .getImageData(20, 15, 1, 1).data]"""
        )
        return pixel

    # Small pictures are embedded without loss.
    expected = [min(255, 3 * abs(a - b)) for a, b in zip(color(1), color(3), strict=True)]
    page.wait_for_function('document.getElementById("compare-note").textContent.includes("× 3")')
    assert middle() == [*expected, 255]
    assert page.locator('.cell[data-chosen="A"]').get_attribute("data-job") == "1"
    page.locator("#compare-swap").click()
    assert page.locator("#compare-a").input_value() == "3"


@pytest.mark.slow
def test_browser_draws_curves_and_dots(page_in_browser: Any) -> None:
    page = page_in_browser
    assert page.locator("#curve-plot path.line").count() == 4
    page.locator("#legend button").first.click()
    assert page.locator("#curve-plot path.line").count() == 3
    page.locator("#curve-loss").select_option("style")
    assert "style loss" in page.locator("#curve-plot").inner_text()
    page.locator("#scatter-x").select_option("key:beta")
    page.locator("#scatter-y").select_option("loss:total")
    dots = page.locator("#scatter-plot circle")
    assert dots.count() == 4
    across = [float(dots.nth(n).get_attribute("cx") or "nan") for n in range(4)]
    up = [float(dots.nth(n).get_attribute("cy") or "nan") for n in range(4)]
    assert across[2] == across[3] < across[0] == across[1]
    assert up == sorted(up, reverse=True)  # the totals rise, and y grows downwards
    dots.nth(2).focus()
    assert page.locator("#scatter-read").inner_text().startswith("2: beta=0.5")


@pytest.mark.slow
def test_browser_copies_a_command_and_fits_a_small_screen(page_in_browser: Any) -> None:
    page = page_in_browser
    page.locator("#jobs tbody button").nth(3).click()
    page.wait_for_function('document.getElementById("copied").textContent')
    assert page.locator("#copied").inner_text() == "Copied: python -m nst_exp beta=0.5 style=wave"
    page.set_viewport_size({"width": 420, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 420
    assert NASTY in page.locator("#note-list").inner_text()
