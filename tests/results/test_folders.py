"""Run folders, loss files and sweep plans, read back."""

import json
from pathlib import Path

import pytest

from nst_exp.results import sweep_plan
from nst_exp.results.losses_csv import append_losses, read_losses, start_losses
from nst_exp.results.run_folder import find_run_folders, read_run_folder
from nst_exp.results.sweep_plan import SweepJob, SweepPlan, folder_of_job, read_plan, write_plan


def write(folder: Path, **record: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(record))
    return folder


def test_run_folders_are_found(tmp_path: Path) -> None:
    for name in ("000_a", "001_b"):
        write(tmp_path / name)
    (tmp_path / "notes").mkdir()
    assert [path.name for path in find_run_folders(tmp_path)] == ["000_a", "001_b"]
    assert find_run_folders(tmp_path / "000_a") == [tmp_path / "000_a"]
    assert find_run_folders(tmp_path / "notes") == find_run_folders(tmp_path / "no") == []


def test_label_of_a_run(tmp_path: Path) -> None:
    folder = write(tmp_path / "003_beta=5", config={})
    assert read_run_folder(folder).label == "beta=5"
    write(folder, config={"panel": "C"})
    assert read_run_folder(folder).label == "C"
    write(folder, config={"panel": "C", "figure": {"label": "wave"}})
    assert read_run_folder(folder).label == "wave"


def test_record_cannot_name_a_file_elsewhere(tmp_path: Path) -> None:
    for path in (tmp_path / "secret.png", tmp_path / "run/image.png"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    run = write(tmp_path / "run", config={"image": "../secret.png"})
    assert read_run_folder(run).image is None
    write(run, config={"image": "image.png"})
    assert read_run_folder(run).image == run / "image.png"


def test_losses_are_kept_up_to_the_step_that_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    start_losses(path, 0)
    for step in (1, 2, 3):
        row = {"total": step / 3, "content": 1.0, "style": 2.0, "tv": 0.0, "range": 9.0}
        append_losses(path, step, 10 * step, row)
    with open(path, "a") as stream:
        stream.write("4,40,0.")  # cut off
    assert [row[0] for row in read_losses(path)] == [1, 2, 3]
    start_losses(path, 2)
    assert [row[:2] for row in read_losses(path)] == [(1, 10), (2, 20)]
    assert read_losses(path)[0][2] == pytest.approx(1 / 3, rel=1e-9)
    start_losses(path, 0)
    assert read_losses(path) == []
    path.write_text("a,b\n1,2\n")  # of another program
    assert read_losses(path) == []


def test_plan_is_read_back_and_extended(tmp_path: Path) -> None:
    first = SweepJob(0, "000_beta=1", ["beta=1"], {"beta": "1"})
    second = SweepJob(1, "001_beta=2", ["beta=2"], {"beta": "2"})
    write_plan(SweepPlan(tmp_path, [first], ["beta"]))
    write_plan(SweepPlan(tmp_path, [second], ["beta"]))
    assert read_plan(tmp_path) == {first.folder: first, second.folder: second}
    assert sweep_plan.next_number(read_plan(tmp_path)) == 2
    assert folder_of_job(tmp_path, 0, ["beta=2"]) == second.folder


@pytest.mark.parametrize(
    "content",
    [
        "{",
        '{"jobs": [{}]}',
        '{"jobs": [{"number": 0, "folder": "..", "overrides": [], "values": {}}]}',
    ],
)
def test_damaged_or_hostile_plan_has_no_jobs(tmp_path: Path, content: str) -> None:
    (tmp_path / "sweep.json").write_text(content)
    assert read_plan(tmp_path) == {}
    assert folder_of_job(tmp_path, 0, ["beta=2"]) == "000_beta=2"


def test_jobs_of_a_search_are_planned_afterward(tmp_path: Path) -> None:
    overrides = ["size=64", "beta=31.415926535897935", "style=a/wave.jpg", "lr=1.2345678e-05"]
    varied = ["beta", "style", "lr"]
    write_plan(SweepPlan(tmp_path, [], varied))
    name = folder_of_job(tmp_path, 7, overrides)
    assert name == "007_beta=31.4159,style=wave.jpg,lr=1.23457e-05"
    write(tmp_path / name, overrides=overrides)
    sweep_plan.add_finished_jobs(tmp_path)
    (job,) = read_plan(tmp_path).values()
    assert job == SweepJob(0, name, overrides, sweep_plan.values_of(overrides, varied))
    write_plan(SweepPlan(tmp_path, [SweepJob(1, "001", [], {})]))
    write_plan(SweepPlan(tmp_path, [], varied))  # a search does not get the folders of a grid
    assert folder_of_job(tmp_path, 0, overrides).startswith("000_beta")
    assert len(read_plan(tmp_path)) == 2


def test_values_have_no_quotation_marks() -> None:
    overrides = ["content='1_2'", 'style="it\'s"', r"out='a\'b\\'", "beta=2", "label=''"]
    assert sweep_plan.split_overrides(overrides) == {
        **{"content": "1_2", "style": "it's", "out": "a'b\\", "beta": "2", "label": ""}
    }


def test_job_names_are_safe() -> None:
    for value, name in (
        ("photos/a cat.jpg", "003_content=a-cat.jpg"),
        ("x" * 200, "003_content=" + "x" * 112),
        ("..", "003_content="),
        ("[a,b]", "003_content=-a,b-"),
    ):
        assert sweep_plan.job_name(3, {"loss.content": value}) == name
    assert sweep_plan.job_name(12, {}) == "012"
