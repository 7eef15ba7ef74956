"""Sweeps on several processes, and searches: the same images, and nothing lost."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers_run import TINY, command_line, environment, picture, pixels
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from nst_exp.app.compose import make_config
from nst_exp.app.sweep.launchers import another_job_failed, check_launcher
from nst_exp.app.sweep.search import check_search, first_values, objectives
from nst_exp.results.sweep_plan import SweepJob, SweepPlan, read_plan, write_plan
from nst_exp.runner.validate import validate
from nst_exp.utils.errors import ConfigError

GRID = ["-m", *TINY, "logging.tensorboard=false", "logging.snapshots=false", "out=s"]
JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
LOCAL = ["hydra/launcher=submitit_local"]
OPTUNA = ["hydra/sweeper=optuna", "hydra.sweeper.direction=[minimize,minimize]"]


def needs(plugin: str) -> pytest.MarkDecorator:
    """The plugins are optional."""
    module, missing = f"hydra_plugins.hydra_{plugin}", True
    with contextlib.suppress(ImportError):
        __import__(module)
        missing = False
    return pytest.mark.skipif(missing, reason=f"could not import {module!r}")


joblib, submitit = needs("joblib_launcher"), needs("submitit_launcher")
optuna = needs("optuna_sweeper")


def records(sweep: Path) -> dict[str, dict[str, Any]]:
    """Job's folder -> its record."""
    return {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(sweep.glob("*/result.json"))
    }


def wait_for(what: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def descendants(pid: int) -> set[int]:
    """Of a process, with itself, by Linux's /proc."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = entry.read_text()
            parents[int(entry.parent.name)] = int(text.rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def alive(pids: set[int]) -> set[int]:
    def is_alive(pid: int) -> bool:
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        return False

    return {pid for pid in pids if is_alive(pid)}


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The grid of the next test, made by the basic launcher."""
    folder = tmp_path_factory.mktemp("basic")
    run = command_line(folder, *GRID, "beta=1,2", "seed=0,1", "init=noise")
    assert run.returncode == 0, run.stderr
    return folder / "s"


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher", [pytest.param(JOBLIB, marks=joblib), pytest.param(LOCAL, marks=submitit)]
)
def test_same_images_as_one_by_one(tmp_path: Path, one_by_one: Path, launcher: list[str]) -> None:
    run = command_line(tmp_path, *GRID, "beta=1,2", "seed=0,1", "init=noise", *launcher)
    assert run.returncode == 0, run.stderr
    made, expected = records(tmp_path / "s"), records(one_by_one)
    assert list(made) == list(expected)
    for job, record in expected.items():
        image = pixels(tmp_path / "s" / job / "image.png")
        assert (image == pixels(one_by_one / job / "image.png")).all()
        assert made[job]["losses"] == record["losses"]
        assert made[job]["fingerprint"] == record["fingerprint"]
    assert run.stdout.splitlines()[0] == "4 jobs: s"
    assert "report: s/report.html" in run.stdout
    assert run.stderr == ""
    log = (tmp_path / "s/000_beta=1,seed=0/nst_exp.log").read_text()
    assert "result: s/000_beta=1,seed=0/image.png" in log


@pytest.mark.slow
@joblib
def test_failure_stays_alone_and_the_rest_is_done_later(tmp_path: Path) -> None:
    picture(tmp_path / "good.png", (40, 40))
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:100])
    run = command_line(tmp_path, *GRID, "style=bad.png,good.png", *JOBLIB)
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert "error: style=bad.png: " in run.stderr
    assert "1 jobs done, 1 failed; the same command with out=s does what is left" in run.stderr
    found = records(tmp_path / "s")
    assert [record["status"] for record in found.values()] == ["failed", "done"]
    # Corrected and extended, the same command does what is left and no more.
    picture(tmp_path / "bad.png", (40, 40), seed=1)
    run = command_line(tmp_path, *GRID, "style=good.png,bad.png,chelsea", *JOBLIB)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[0] == "3 jobs, 1 of them done already: s"
    after = records(tmp_path / "s")
    assert list(after) == [*found, "002_style=chelsea"]
    assert {record["status"] for record in after.values()} == {"done"}
    assert after["001_style=good.png"] == found["001_style=good.png"]


@pytest.mark.slow
@joblib
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("number", "everyone", "code"),
    [
        (signal.SIGINT, True, 130),  # Ctrl-C: every process of the terminal gets it
        (signal.SIGTERM, False, 143),
        (signal.SIGKILL, True, -signal.SIGKILL),
    ],
)
def test_stopped_and_resumed(
    tmp_path: Path, number: signal.Signals, everyone: bool, code: int
) -> None:
    grid = [*GRID, "size=32", "beta=1,2,3", "init=noise", "logging.image_every=0", *JOBLIB]
    grid += ["steps=1000", "trainer.checkpoint_minutes=0.002"]
    process = subprocess.Popen(
        [sys.executable, "-m", "nst_exp", *grid],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: len(list((tmp_path / "s").glob("*/last.ckpt"))) == 2)
    family = descendants(process.pid)
    (os.killpg if everyone else os.kill)(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    wait_for(lambda: not alive(family), 20.0)
    assert "Traceback" not in err
    assert ("does what is left" in err) == (number != signal.SIGKILL)
    assert not (tmp_path / "s/002_beta=3").exists()  # no other job began
    run = command_line(tmp_path, *grid)
    assert run.returncode == 0, run.stderr
    assert [record["status"] for record in records(tmp_path / "s").values()] == ["done"] * 3
    assert "resuming after step" in (tmp_path / "s/000_beta=1/nst_exp.log").read_text()


@pytest.mark.slow
@optuna
def test_search(tmp_path: Path) -> None:
    picture(tmp_path / "good.png", (40, 40))
    search = [
        *(word for word in GRID if not word.startswith("style=")),
        *(*OPTUNA, "hydra.sweeper.n_trials=5", "hydra.sweeper.n_jobs=1"),
        *("hydra.sweeper.sampler.seed=3", "beta=tag(log,interval(0.1,100))"),
        "style=good.png,bad.png",
    ]
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:100])
    run = command_line(tmp_path, *search)
    assert run.returncode == 1  # one style cannot be read
    assert "Traceback" not in run.stderr
    assert run.stdout.splitlines()[0] == "a search of 5 jobs: s"
    assert "report: s/report.html" in run.stdout
    found = records(tmp_path / "s")
    assert len(found) == 5
    for number, (name, record) in enumerate(found.items()):
        values = re.fullmatch(r"(\d+)_beta=([\d.]+),style=(good|bad)\.png", name)
        assert values is not None
        assert int(values[1]) == number
        assert float(values[2]) == pytest.approx(record["config"]["beta"], rel=1e-5)  # 6 digits
        assert record["status"] == ("done" if values[3] == "good" else "failed")
    statuses = {record["status"] for record in found.values()}
    assert statuses == {"done", "failed"}, "choose another seed of the sampler"
    plan = read_plan(tmp_path / "s")
    assert list(plan) == list(found)
    assert {tuple(job.values) for job in plan.values()} == {("beta", "style")}
    # The sampler's seed makes the same trials again; those that are done are not repeated.
    again = command_line(tmp_path, *search)
    assert "already done: s/" in again.stdout
    assert list(records(tmp_path / "s")) == list(found)


@pytest.mark.slow
@optuna
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hydra.sweeper.direction=[minimize,minimize,minimize]"], "3 directions"),
        (["hydra.sweeper.storage=sqlite:///x.db"], "this Optuna cannot use it"),
        (["beta=interval(-1,1)"], "beta=-1.0: must be at least 0"),
    ],
)
def test_impossible_search_is_refused(tmp_path: Path, arguments: list[str], said: str) -> None:
    run = command_line(tmp_path, *GRID, "hydra/sweeper=optuna", *arguments)
    assert run.returncode == 2
    assert said in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "s").exists()


SEARCHES = re.findall(
    r"^nst-exp -m (.*hydra/sweeper=optuna.*)$",
    (Path(__file__).resolve().parents[2] / "docs/clusters.md")
    .read_text(encoding="utf-8")
    .replace("\\\n", " "),
    re.M,
)


@optuna
def test_documented_searches_are_accepted() -> None:
    assert SEARCHES
    for command in SEARCHES:
        words = shlex.split(command)
        keys = OverridesParser.create().parse_overrides([w for w in words if "hydra" not in w])
        hydra = [word for word in words if "hydra" in word]
        validate(make_config([*hydra, *first_values(keys)]))


# What follows needs no plugin and no process.


def sweeper(direction: Any) -> Any:
    return OmegaConf.create(
        {"_target_": "a.b.OptunaSweeper", "direction": direction, "storage": None}
    )


def test_objectives() -> None:
    record = {
        "losses": {"total": 7.0, "content": 1.0, "style": 2.0},
        "metrics": {"content_distance": 0.1, "style_distance": 0.2},
    }
    two = sweeper(["minimize", "minimize"])
    assert objectives(two, record, metrics=True) == (0.1, 0.2)
    assert objectives(two, record, metrics=False) == (1.0, 2.0)
    assert objectives(sweeper("minimize"), record, metrics=True) == 7.0
    # A number that is missing or not finite is a failure: Optuna must not get NaN.
    record["metrics"] = {"content_distance": float("nan"), "style_distance": 0.2}
    assert objectives(two, record, metrics=True) is None
    assert objectives(two, record | {"metrics": {}}, metrics=True) is None
    basic = OmegaConf.create({"_target_": "hydra.BasicSweeper"})
    assert objectives(basic, record, metrics=True) is None


def test_first_values_of_a_search() -> None:
    parsed = OverridesParser.create().parse_overrides(
        ["beta=tag(log,interval(0.1,100))", "+experiment=b,a", "seed=range(2,5)", "size=64"]
    )
    assert first_values(parsed) == ["beta=0.1", "+experiment=b", "seed=2", "size=64"]
    with pytest.raises(ConfigError, match="3 directions"):
        check_search(sweeper(["minimize"] * 3))


def test_impossible_launchers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="no srun here"):
        check_launcher(OmegaConf.create({"_target_": "a.b.SlurmLauncher"}))
    with pytest.raises(ConfigError, match="n_jobs=0"):
        check_launcher(OmegaConf.create({"_target_": "a.b.JoblibLauncher", "n_jobs": 0}))


def test_fail_fast_looks_at_the_jobs_of_this_launch(tmp_path: Path) -> None:
    plan = SweepPlan(tmp_path, [SweepJob(0, "000", [], {}), SweepJob(1, "001", [], {})])
    failed = tmp_path / "000" / "result.json"
    failed.parent.mkdir()
    failed.write_text('{"status": "failed"}')
    time.sleep(0.01)
    write_plan(plan)  # a new launch
    assert not another_job_failed(tmp_path)
    time.sleep(0.01)
    failed.write_text('{"status": "failed"}')
    assert another_job_failed(tmp_path)
