"""The files of a report, what users may write into them, and the command."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_run import pixels
from PIL import Image
from report_folders import (
    NASTY,
    SIZE,
    change_record,
    color,
    read_csv,
    write_job,
    write_plan,
    write_sweep,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.api_pb2 import DATA_TYPE_FLOAT64, DATA_TYPE_STRING
from tensorboard.plugins.hparams.metadata import parse_experiment_plugin_data

from nst_exp.report import write_report
from nst_exp.report.__main__ import main
from nst_exp.report.html_data import encode
from nst_exp.report.table import WIDTH, table
from nst_exp.report.tensorboard_summary import columns
from nst_exp.utils.errors import OutputError

FILES = ("sheet.png", "tradeoff.png", "results.csv", "report.html", "_summary")


def data_of(page: Path) -> dict[str, Any]:
    """Return what the script of a page receives."""
    (text,) = re.findall(r'id="data">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    found: dict[str, Any] = json.loads(text)
    return found


def two_jobs(folder: Path, **record: Any) -> Path:
    return write_sweep(folder, [{"beta": "1"}, {"beta": "2"}], **record)


def test_files_of_a_sweep(tmp_path: Path) -> None:
    sweep = two_jobs(tmp_path / "s", steps=(0, 5, 10))
    losses = [f"{step},{step},{9 / step},1,2,0.5" for step in range(1, 500)]
    header = "step,evaluations,total,content,style,tv"
    (sweep / "000/losses.csv").write_text("\n".join([header, *losses, ""]))
    assert write_report([sweep], sweep) == [sweep / name for name in FILES]
    for index in range(2):
        found = np.nonzero((pixels(sweep / "sheet.png") == color(index)).all(axis=2))
        assert np.ptp(found[1]) + 1 == 2 * SIZE[0]
    text = (sweep / "report.html").read_text(encoding="utf-8")
    outside = re.findall(r"https?://[^\s\"')]*", text)
    assert set(outside) <= {"http://www.w3.org/2000/svg"}  # the name of a namespace
    assert "@import" not in text
    data = data_of(sweep / "report.html")
    first, second = data["jobs"]
    assert [step for step, _ in first["snapshots"]] == [0, 5, 10]
    assert second["command"] == "python -m nst_exp beta=2"
    assert data["sheets"][0]["cells"] == [[0, 1]]
    assert data["tradeoff"] == {"x": "loss:content", "y": "loss:style", "front": [0, 1]}
    steps = [row[0] for row in first["curve"]]
    assert (len(steps), steps[0], steps[-1]) == (240, 1, 499)
    assert second["curve"] == []


def test_unfinished_and_damaged_jobs(tmp_path: Path) -> None:
    states = ["done", "failed", "interrupted", "running", "missing", "damaged"]
    jobs: list[dict[str, Any]] = []
    for index, status in enumerate(states):
        values = {"beta": str(index)}
        jobs.append({"number": index, "folder": status, "overrides": [], "values": values})
        if status != "missing":
            write_job(tmp_path / "s" / status, index, status=status, error="Oops: it broke\nbadly")
    (tmp_path / "s/damaged/result.json").write_text('{"status": "do')
    (tmp_path / "s/done/image.png").write_bytes(b"no image")
    (tmp_path / "s/done/losses.csv").write_bytes(b"\xff\xfe")
    sweep = write_plan(tmp_path / "s", jobs)
    write_report([sweep], sweep)
    rows = read_csv(sweep / "results.csv")
    assert [row["status"] for row in rows] == [*states[:-1], "missing"]
    assert rows[1]["error"] == "Oops: it broke\nbadly"
    assert [row["total_loss"] for row in rows] == ["1.5", "2.5", "3.5", "4.5", "", ""]
    assert data_of(sweep / "report.html")["jobs"][0]["image"] is None


def test_sheets_of_other_keys_are_removed(tmp_path: Path) -> None:
    values = [{"a": a, "b": b, "c": c} for a in "12" for b in "123" for c in "123"]
    sweep, out = write_sweep(tmp_path / "s", values), tmp_path / "out"
    names = [path.name for path in write_report([sweep], out)]
    assert names == ["sheet_1.png", "sheet_2.png", *FILES[1:]]
    Image.new("RGB", (4, 4)).save(out / "sheet_own.png")  # the user's
    write_report([write_sweep(tmp_path / "t", [{"beta": "1"}])], out)
    assert sorted(path.name for path in out.glob("*.png")) == ["sheet.png", "sheet_own.png"]


@pytest.mark.parametrize("name", ["sheet.png", "report.html"])
def test_files_of_others_are_kept(tmp_path: Path, name: str) -> None:
    sweep = two_jobs(tmp_path / "s")
    (sweep / name).write_text("mine")
    before = sorted(sweep.iterdir())
    with pytest.raises(OutputError, match="is not part of a report"):
        write_report([sweep], sweep)
    assert (sweep / name).read_text() == "mine"
    assert sorted(sweep.iterdir()) == before


def test_summary_for_tensorboard(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", [{"beta": "1|2"}, {"beta": "<i>"}])
    for _ in range(2):  # a second report replaces the first
        write_report([sweep], sweep)
    assert len(list((sweep / "_summary").iterdir())) == 1
    events = EventAccumulator(str(sweep / "_summary"))
    events.Reload()
    (image,) = events.Images("all jobs/sheet")
    assert image.width == pixels(sweep / "sheet.png").shape[1]
    text = events.Tensors("results")[0].tensor_proto.string_val[0].decode()
    assert "| 1&#124;2 | done |" in text
    assert "&lt;i&gt;" in text


def test_columns_of_tensorboard_are_the_varied_keys_and_the_metrics() -> None:
    (entry,) = columns(["loss", "size"]).value
    content = parse_experiment_plugin_data(entry.metadata.plugin_data.content)
    keys = {info.name: (info.differs, info.type) for info in content.hparam_infos}
    assert list(keys)[:4] == ["loss", "size", "content", "style"]
    assert [key for key, (differs, _) in keys.items() if differs] == ["loss", "size"]
    assert keys["size"][1] == keys["beta"][1] == DATA_TYPE_FLOAT64
    assert keys["loss"][1] == keys["style"][1] == DATA_TYPE_STRING
    tags = [info.name.tag for info in content.metric_infos]
    assert tags[:2] == ["metrics/content_distance", "metrics/style_distance"]
    assert not [tag for tag in tags if tag.startswith("loss/")]


def test_texts_of_users_stay_texts(tmp_path: Path) -> None:
    values = [{NASTY: NASTY, "style": "{{script}}"}, {NASTY: "b", "style": "<!--"}]
    metrics = {f"m {NASTY}": 1.0}
    sweep = write_sweep(tmp_path / "<b>'s", values, warnings=[NASTY], metrics=metrics)
    write_report([sweep], tmp_path / "out")
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert text.count("<script") == 2  # the data and the page's own
    assert "<script>alert" not in text
    assert "<b>" not in text
    assert "<title>&lt;b&gt;" in text
    job = data_of(tmp_path / "out" / "report.html")["jobs"][0]
    assert job["values"] == [NASTY, "{{script}}"]
    assert job["notes"] == [NASTY]
    assert read_csv(tmp_path / "out" / "results.csv")[0][NASTY] == NASTY
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text  # no other script may run


def test_many_images_are_embedded_smaller(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 250, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    paths = dict.fromkeys(range(20), tmp_path / "a.png")
    large, small = (encode(paths, 250, budget) for budget in (1e7, 1e5))
    assert sum(map(len, small.values())) < 1e5
    assert len(large[0]) > 10 * len(small[0])


def test_csv_has_everything_that_is_known(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", [{"style": 'a "quoted",\nvalue'}, {"style": "[a,b]"}])
    losses = {"total": float("inf"), "content": 0.5, "style": 0.5}
    change_record(sweep / "001", losses=losses, metrics={"ssim": float("nan")}, seconds=None)
    write_report([sweep], sweep)
    first, second = read_csv(sweep / "results.csv")
    losses_and_metrics = "total_loss,content_loss,style_loss,tv_loss,ssim"
    measured = "step,seconds,evaluations,width,height"
    names = f"number,folder,status,style,{losses_and_metrics},pareto,{measured}"
    assert ",".join(first) == f"{names},error"
    assert list(first.values())[:4] == ["0", "000", "done", 'a "quoted",\nvalue']
    assert ",".join(list(first.values())[4:]) == "1.5,0.5,0.25,0.125,0.5,true,10,2.5,12,40,30,"
    assert ",".join(second.values()) == "1,001,done,[a,b],,0.5,0.5,,,false,10,,12,40,30,"


@pytest.mark.parametrize("word", ["2", "long " * 30])
def test_text_table_fits_the_terminal(tmp_path: Path, word: str) -> None:
    values = [{"beta": "1", "style": word}, {"beta": "2", "style": word}]
    distances = {"content_distance": 0.75, "style_distance": 0.875}
    sweep = write_sweep(tmp_path / "s", values, status="failed", error="E\ntwo", metrics=distances)
    header, first, _ = table([sweep]).splitlines()
    assert header.split()[2:5] == ["status", "total", "content"]
    numbers = ["failed", "1.500e+00", "7.500e-01", "8.750e-01", "2.5", "E"]
    assert (first.split()[:2], first.split()[-6:]) == (["0", "1"], numbers)
    assert len(first) <= WIDTH


def test_command_writes_reports_of_several_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    two_jobs(Path("one"))
    assert main(["one"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"report: one/{name}" for name in FILES]
    write_job(Path("two"), 1, settings={"beta": 2.0})
    assert main(["one", "two"]) == 0
    folders = [row["folder"] for row in read_csv(Path("report/results.csv"))]
    assert folders == ["one/000", "one/001", "two"]
    assert main(["three"]) == 2
    assert capsys.readouterr().err.startswith("error: three: no such folder; ")


def test_reports_need_no_torch() -> None:
    code = "import sys, nst_exp.report.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
