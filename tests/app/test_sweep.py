"""Sweeps: checked before the first job, stopped, gone on with, extended; failures stay alone."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers_run import TINY, command_line, environment, picture, pixels

from nst_exp.results.sweep_plan import job_name

GRID = ["-m", *TINY, "logging.tensorboard=false", "logging.snapshots=false", "out=s"]


def records(sweep: Path) -> dict[str, dict[str, object]]:
    """Job's folder -> its record."""
    return {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(sweep.glob("*/result.json"))
    }


def plan_of(sweep: Path) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = json.loads((sweep / "sweep.json").read_text())
    return found


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("a/b/c.jpg", "003_content=c.jpg"),
        ("it's a cat", "003_content=it-s-a-cat"),
        ("[relu1_1,relu2_1]", "003_content=-relu1_1,relu2_1-"),
        ("x" * 300, "003_content=" + "x" * 112),
        ("end.", "003_content=end"),  # Windows drops the point
    ],
)
def test_job_names_are_safe(value: str, name: str) -> None:
    assert job_name(3, {"content": value}) == name
    assert job_name(3, {"loss.content": value})[:12] == name[:12]


@pytest.mark.slow
def test_every_job_is_checked_before_the_first(tmp_path: Path) -> None:
    run = command_line(tmp_path, *GRID, "beta=1,-1", "style=chelsea,no_such_picture")
    assert run.returncode == 2
    assert run.stdout == ""
    assert not (tmp_path / "s").exists()
    assert "error: beta=-1.0: must be at least 0" in run.stderr
    assert "in 2 of 4 jobs: style=chelsea, beta=-1; style=no_such_picture, beta=-1" in run.stderr
    assert "style=no_such_picture: no such file" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.slow
def test_sweep_is_gone_on_with_and_extended(tmp_path: Path) -> None:
    assert command_line(tmp_path, *GRID, "beta=1,2").returncode == 0
    first = records(tmp_path / "s")
    assert list(first) == ["000_beta=1", "001_beta=2"]
    for name in ("sheet.png", "results.csv", "report.html", "_summary"):
        assert (tmp_path / "s" / name).exists()
    again = command_line(tmp_path, *GRID, "beta=1,2")
    assert again.stdout.splitlines()[0] == "2 jobs, 2 of them done already: s"
    assert records(tmp_path / "s") == first  # not even looked at again
    # Another grid: what is there keeps its folder, also under another order and a second key.
    more = command_line(tmp_path, *GRID, "beta=3,2", "seed=0,1")
    assert more.returncode == 0, more.stderr
    found = records(tmp_path / "s")
    assert list(found) == [
        "000_beta=1",
        "001_beta=2",
        "002_beta=3,seed=0",
        "003_beta=3,seed=1",
        "004_beta=2,seed=1",
    ]
    assert found["001_beta=2"] == first["001_beta=2"]
    plan = plan_of(tmp_path / "s")
    assert plan["launch"] == [
        "002_beta=3,seed=0",
        "003_beta=3,seed=1",
        "001_beta=2",
        "004_beta=2,seed=1",
    ]
    assert [job["folder"] for job in plan["jobs"]] == list(found)
    # Other settings in the same folder would replace what is there.
    other = command_line(tmp_path, *GRID, "beta=1,2", "steps=6")
    assert other.returncode == 2
    assert "made with other settings" in other.stderr
    assert records(tmp_path / "s") == found


@pytest.mark.slow
def test_grid_that_asks_twice_for_the_same_has_two_folders(tmp_path: Path) -> None:
    """Jobs may run side by side, and two must not write into one folder."""
    for _ in range(2):
        assert command_line(tmp_path, *GRID, "beta=1,1.0,1").returncode == 0
        assert list(records(tmp_path / "s")) == ["000_beta=1", "001_beta=1.0", "002_beta=1"]
        assert len(set(map(str, plan_of(tmp_path / "s")["launch"]))) == 3


@pytest.mark.slow
@pytest.mark.parametrize("fail_fast", [False, True])
def test_failing_job_costs_nothing_but_itself(tmp_path: Path, fail_fast: bool) -> None:
    picture(tmp_path / "good.png", (40, 40))
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:100])
    grid = [*GRID, "style=bad.png,good.png", f"fail_fast={str(fail_fast).lower()}"]
    run = command_line(tmp_path, *grid)
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert "bad.png" in run.stderr
    found = records(tmp_path / "s")
    assert found["000_style=bad.png"]["status"] == "failed"
    assert "bad.png" in str(found["000_style=bad.png"]["error"])
    assert ("001_style=good.png" in found) != fail_fast
    # Mended, the same command does what is left.
    picture(tmp_path / "bad.png", (40, 40), seed=1)
    assert command_line(tmp_path, *grid).returncode == 0
    after = records(tmp_path / "s")
    assert [record["status"] for record in after.values()] == ["done", "done"]
    if not fail_fast:
        assert after["001_style=good.png"] == found["001_style=good.png"]


@pytest.mark.slow
def test_bug_in_a_job_leaves_its_traceback_there(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import nst_exp.core.objective as o\n"
        "def broken(*a): raise ZeroDivisionError('planted')\n"
        "o.range_excess = broken\n"
    )
    run = command_line(tmp_path, *GRID, "seed=0,1", PYTHONPATH=str(tmp_path))
    assert run.returncode == 1
    assert run.stderr.count("error: ZeroDivisionError: planted") == 2
    for job in ("000_seed=0", "001_seed=1"):
        log = (tmp_path / "s" / job / "nst_exp.log").read_text()
        assert "Traceback" in log
        assert "planted" in log
        assert records(tmp_path / "s")[job]["status"] == "failed"


@pytest.mark.slow
def test_killed_three_times_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    grid = [*GRID, "steps=40", "trainer.checkpoint_minutes=0.002", "beta=1,2,3", "init=noise"]
    assert command_line(tmp_path, *grid[:-1], "init=noise", "out=whole").returncode == 0
    moments = random.Random(7)
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "nst_exp", *grid],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while not list((tmp_path / "s").glob("*/result.json")) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(moments.uniform(0.1, 3.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
    finished = {
        name: os.stat(tmp_path / "s" / name / "image.png").st_mtime_ns
        for name, record in records(tmp_path / "s").items()
        if record["status"] == "done"
    }
    last = command_line(tmp_path, *grid)
    assert last.returncode == 0, last.stderr
    assert list(records(tmp_path / "s")) == list(records(tmp_path / "whole"))
    for job, record in records(tmp_path / "whole").items():
        mine, whole = (tmp_path / name / job / "image.png" for name in ("s", "whole"))
        assert (pixels(mine) == pixels(whole)).all()
        assert records(tmp_path / "s")[job]["losses"] == record["losses"]
    for name, moment in finished.items():  # what was done has not been done again
        assert os.stat(tmp_path / "s" / name / "image.png").st_mtime_ns == moment


@pytest.mark.slow
def test_termination_ends_the_sweep_with_its_code(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "nst_exp", *GRID, "steps=400", "beta=1,2"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "s/000_beta=1/result.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert list(records(tmp_path / "s")) == ["000_beta=1"]
    assert records(tmp_path / "s")["000_beta=1"]["status"] == "interrupted"


@pytest.mark.slow
def test_weights_and_targets_are_made_once(tmp_path: Path) -> None:
    """The second job of a process neither builds a network nor computes a target."""
    code = (
        "import sys, nst_exp.runner.network as n\n"
        "built, mapped = [], []\n"
        "b, m = n.build_encoder, n.feature_maps\n"
        "n.build_encoder = lambda *a, **k: (built.append(1), b(*a, **k))[1]\n"
        "n.feature_maps = lambda *a, **k: (mapped.append(1), m(*a, **k))[1]\n"
        "from nst_exp.app.main import main\n"
        "main()\n"
        "print('built', len(built), 'mapped', len(mapped))\n"
    )
    arguments = [*GRID, "logging.metrics=false", "beta=1,2,3"]
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.stdout.splitlines()[-1] == "built 1 mapped 2", run.stderr
