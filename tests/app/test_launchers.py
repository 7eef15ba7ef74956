"""Sweeps on several processes, and searches: the same images, and nothing lost."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from helpers_run import TINY, environment, forked_command, picture, pixels, records
from omegaconf import OmegaConf

from nst_exp.app.hydra_options import is_installed
from nst_exp.app.overrides import check_arguments
from nst_exp.app.sweep.launchers import another_job_failed
from nst_exp.app.sweep.search import objectives
from nst_exp.results.sweep_plan import SweepJob, SweepPlan, read_plan, write_plan

GRID = ["-m", *TINY, "logging.loggers=[]", "logging.snapshots=false", "out=s"]
JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
LOCAL = ["hydra/launcher=submitit_local"]
OPTUNA = ["hydra/sweeper=optuna", "hydra.sweeper.direction=[minimize,minimize]"]


def needs(plugin: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not is_installed(plugin), reason=f"without {plugin}")


joblib, submitit = needs("joblib_launcher"), needs("submitit_launcher")
optuna = needs("optuna_sweeper")


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


def sweep_with_a_damaged_style(folder: Path, *launcher: str) -> CompletedProcess[str]:
    """Do two jobs, of which the first fails."""
    picture(folder / "good.png", (40, 40))
    (folder / "bad.png").write_bytes((folder / "good.png").read_bytes()[:100])
    run = forked_command(folder, *GRID, "style=bad.png,good.png", "init=noise", *launcher)
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    return run


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep of the next test, made by the basic launcher."""
    folder = tmp_path_factory.mktemp("basic")
    sweep_with_a_damaged_style(folder)
    return folder / "s"


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher", [pytest.param(JOBLIB, marks=joblib), pytest.param(LOCAL, marks=submitit)]
)
def test_same_images_as_one_by_one(
    run_here, tmp_path: Path, one_by_one: Path, launcher: list[str]
) -> None:
    run = sweep_with_a_damaged_style(tmp_path, *launcher)
    assert run.stdout.splitlines()[0] == "2 jobs: s"
    assert "report: s/report.html" in run.stdout
    if launcher == JOBLIB:  # submitit keeps what jobs print in files
        assert "error: style=bad.png: " in run.stderr
    assert "1 of 2 jobs done, 1 failed; the same command with out=s does what is left" in run.stderr
    made, expected = records(tmp_path / "s"), records(one_by_one)
    assert [record["status"] for record in made.values()] == ["failed", "done"]
    assert list(made) == list(expected)
    job = "001_style=good.png"
    assert (
        pixels(tmp_path / "s" / job / "image.png") == pixels(one_by_one / job / "image.png")
    ).all()
    for key in ("losses", "fingerprint"):
        assert made[job][key] == expected[job][key]
    log = (tmp_path / "s" / job / "nst_exp.log").read_text()
    assert f"result: s/{job}/image.png" in log
    # Corrected and extended, the same command does what is left and no more.
    picture(tmp_path / "bad.png", (40, 40), seed=1)
    code, out, err = run_here(*GRID, "style=good.png,bad.png,chelsea", "init=noise")
    assert (code, err) == (0, "")
    assert "1 of 3 jobs are done already\n" in out
    after = records(tmp_path / "s")
    assert list(after) == [*made, "002_style=chelsea"]
    assert {record["status"] for record in after.values()} == {"done"}
    assert after[job] == made[job]


@pytest.mark.slow
@joblib
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("number", "whom", "code"),
    [
        (signal.SIGINT, "all", 130),  # Ctrl-C: every process of the terminal gets it
        (signal.SIGTERM, "parent", 143),
        (signal.SIGKILL, "worker", 1),  # for example by the kernel, when memory runs out
    ],
)
def test_stopped_and_resumed(
    run_here, tmp_path: Path, number: signal.Signals, whom: str, code: int
) -> None:
    grid = [*GRID, "size=32", "init=noise", "logging.image_every=0", "steps=600"]
    grid += ["trainer.checkpoint_minutes=0.002"]
    process = subprocess.Popen(
        [sys.executable, "-m", "nst_exp", *grid, "beta=1,2,3", *JOBLIB],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: len(list((tmp_path / "s").glob("*/last.ckpt"))) == 2)
    family = descendants(process.pid)
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in family}
    worker = next(pid for pid, command in commands.items() if "popen_loky" in command)
    target = worker if whom == "worker" else process.pid
    (os.killpg if whom == "all" else os.kill)(target, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    wait_for(lambda: not alive(family), 20.0)
    assert "Traceback" not in err
    assert ("does what is left" in err) == (code > 0)
    if whom == "worker":
        assert err.startswith("error: TerminatedWorkerError: ")
        assert "report: s/report.html" in out
    assert not (tmp_path / "s/002_beta=3").exists()  # no other job began
    if number != signal.SIGTERM:
        return
    code, out, err = run_here(*grid, "beta=1")
    assert (code, err) == (0, "")
    assert "resuming after step" in out
    assert records(tmp_path / "s")["000_beta=1"]["status"] == "done"


@pytest.mark.slow
@optuna
def test_search(run_here, tmp_path: Path) -> None:
    picture(tmp_path / "good.png", (40, 40))
    search = [
        *(word for word in GRID if not word.startswith("style=")),
        *(*OPTUNA, "hydra.sweeper.n_trials=5", "hydra.sweeper.n_jobs=1"),
        *("hydra.sweeper.sampler.seed=3", "beta=tag(log,interval(0.1,100))"),
        "style=good.png,bad.png",
    ]
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:100])
    code, out, err = run_here(*search)
    assert code == 1  # one style cannot be read
    assert "Traceback" not in err
    assert out.splitlines()[0] == "a search of 5 jobs: s"
    assert "report: s/report.html" in out
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
    assert "already done: s/" in run_here(*search)[1]
    assert list(records(tmp_path / "s")) == list(found)


@pytest.mark.slow
@optuna
def test_search_whose_jobs_all_fail_has_a_report(run_here, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("not an image")
    grid = [word for word in GRID if not word.startswith("style=")]
    search = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "style=bad.png,bad.png"]
    code, out, err = run_here(*grid, *search)
    assert code == 1
    assert "Traceback" not in err
    assert err.splitlines()[-1].endswith("the same command with out=s does what is left")
    assert "report: s/report.html" in out


@pytest.mark.slow
@optuna
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hydra.sweeper.direction=[minimize,minimize,minimize]"], "3 directions"),
        (["hydra.sweeper.storage=sqlite:///x.db"], "this Optuna cannot use it"),
        (["beta=interval(-1,1)"], "beta=-1.0: must be at least 0"),
        (["beta=interval(2,1)"], "beta=interval(2,1): the first number must be the smaller"),
        (["beta=tag(log,interval(0,1))"], "log needs numbers greater than 0"),
        (["hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials=0: must be at least 1"),
        (["hydra.sweeper.direction=up"], "hydra.sweeper.direction=up: must be minimize, maximize"),
    ],
)
def test_impossible_search_is_refused(
    run_here, tmp_path: Path, arguments: list[str], said: str
) -> None:
    code, _, err = run_here(*GRID, "hydra/sweeper=optuna", *arguments)
    assert code == 2
    assert said in err
    assert not (tmp_path / "s").exists()


def test_documented_searches_are_accepted() -> None:
    page = Path(__file__).parents[2] / "docs" / "clusters.md"
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    searches = re.findall(r"^nst-exp (-m .*hydra/sweeper=optuna.*)$", text, re.M)
    assert searches
    for search in searches:
        check_arguments(shlex.split(search))


def sweeper(direction: Any) -> Any:
    return OmegaConf.create({"_target_": "a.b.OptunaSweeper", "direction": direction})


def test_objectives() -> None:
    record = {
        "losses": {"total": 7.0, "content": 1.0, "style": 2.0},
        "metrics": {"content_distance": 0.1, "style_distance": 0.2},
    }
    two = sweeper(["minimize", "minimize"])
    assert objectives(two, record, metrics=True) == [0.1, 0.2]
    assert objectives(two, record, metrics=False) == [1.0, 2.0]
    assert objectives(sweeper("minimize"), record, metrics=True) == 7.0
    # A number that is missing or not finite is a failure: Optuna must not get NaN.
    record["metrics"] = {"content_distance": float("nan"), "style_distance": 0.2}
    assert objectives(two, record, metrics=True) is None
    assert objectives(two, record | {"metrics": {}}, metrics=True) is None
    basic = OmegaConf.create({"_target_": "hydra.BasicSweeper"})
    assert objectives(basic, record, metrics=True) is None


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
