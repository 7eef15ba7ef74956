"""Sweeps on several processes, and searches: the same pictures, one voice, nothing lost."""

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
from nst_exp.app.sweep.worker import leave_no_trace
from omegaconf import OmegaConf

from nst_exp.app.api import make_config
from nst_exp.app.sweep import launchers as launch
from nst_exp.app.sweep.search import check_search, first_values, objectives
from nst_exp.results.losses_csv import read_losses
from nst_exp.results.record import record_failure
from nst_exp.results.sweep_plan import add_finished_jobs, folder_of_job, read_plan
from nst_exp.runner.validate import validate
from nst_exp.utils.errors import ConfigError

QUIET = [*TINY, "logging.tensorboard=false", "logging.snapshots=false", "out=s"]
GRID = ["-m", *QUIET]
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


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nst_exp", *arguments],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The grid of the tests below, made by the basic launcher."""
    folder = tmp_path_factory.mktemp("basic")
    run = command_line(folder, *GRID, "beta=1,2", "seed=0,1", "init=noise")
    assert run.returncode == 0, run.stderr
    return folder / "s"


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher", [pytest.param(JOBLIB, marks=joblib), pytest.param(LOCAL, marks=submitit)]
)
def test_same_pictures_as_one_by_one(tmp_path: Path, one_by_one: Path, launcher: list[str]) -> None:
    run = command_line(tmp_path, *GRID, "beta=1,2", "seed=0,1", "init=noise", *launcher)
    assert run.returncode == 0, run.stderr
    made, expected = records(tmp_path / "s"), records(one_by_one)
    assert list(made) == list(expected)
    for job, record in expected.items():
        image = pixels(tmp_path / "s" / job / "image.png")
        assert (image == pixels(one_by_one / job / "image.png")).all()
        assert made[job]["losses"] == record["losses"]
        assert made[job]["fingerprint"] == record["fingerprint"]
    # One voice: the plan, and a line for each job as it ends.
    first, *lines = run.stdout.splitlines()[:5]
    assert first == "4 jobs: s"
    assert [line.partition(";")[0] for line in lines] == [f"job {n} of 4" for n in (1, 2, 3, 4)]
    assert {re.split("; ", line)[1] for line in lines} == {
        f"beta={beta}, seed={seed}" for beta in (1, 2) for seed in (0, 1)
    }
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
    assert "style=bad.png; failed: ConfigError: " in run.stdout
    assert "1 jobs done, 1 failed; the same command with out=s does what is left" in run.stderr
    found = records(tmp_path / "s")
    assert found["000_style=bad.png"]["status"] == "failed"
    assert found["001_style=good.png"]["status"] == "done"
    # Mended and extended, the same command does what is left and no more.
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
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_stopped_and_gone_on_with(tmp_path: Path, number: signal.Signals) -> None:
    # Long enough not to end before the signal comes.
    grid = [*GRID, "size=32", "beta=1,2,3", "init=noise", "logging.image_every=0"]
    process = start(tmp_path, *grid, "steps=20000", *JOBLIB)
    wait_for(lambda: len(records(tmp_path / "s")) == 2)
    time.sleep(1.0)
    family = descendants(process.pid)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (143 if number == signal.SIGTERM else -number), err
    wait_for(lambda: not alive(family), 20.0)
    assert "Traceback" not in err
    # The third had not begun, and looks like it.
    assert sorted(path.name for path in (tmp_path / "s").glob("0*")) == ["000_beta=1", "001_beta=2"]
    for record in records(tmp_path / "s").values():
        assert record["status"] == "interrupted"
        assert record["step"] > 0
    again = start(tmp_path, *grid, "steps=20000", *JOBLIB)
    log = tmp_path / "s/000_beta=1/nst_exp.log"
    wait_for(lambda: "going on after step" in log.read_text())
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=60)
    assert again.returncode == 130


@pytest.mark.slow
@submitit
@pytest.mark.skipif(not hasattr(signal, "SIGUSR2"), reason="no such signal here")
def test_requeued_job_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """As SLURM would have it some time before a job's limit."""
    once = [*QUIET, "size=32", "init=noise", "steps=400", "logging.image_every=0"]
    once += ["logging.tensorboard=true"]  # and with it losses.csv
    process = start(tmp_path, "-m", *once, *LOCAL)
    job = tmp_path / "s/000"
    wait_for(lambda: len(read_losses(job / "losses.csv")) > 3)
    os.kill(records(tmp_path / "s")[job.name]["process"]["pid"], signal.SIGUSR2)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.count("job 1 of 1; ") == 1
    log = (job / "nst_exp.log").read_text()
    assert "the launcher decides" in log
    assert "going on after step" in log
    whole = command_line(tmp_path, *once, "out=whole")
    assert whole.returncode == 0, whole.stderr
    assert (pixels(job / "image.png") == pixels(tmp_path / "whole/image.png")).all()


@pytest.mark.slow
@optuna
def test_search(tmp_path: Path) -> None:
    picture(tmp_path / "good.png", (40, 40))
    search = [
        *(word for word in GRID if not word.startswith("style=")),
        *OPTUNA,
        "hydra.sweeper.n_trials=5",
        "hydra.sweeper.n_jobs=1",
        "hydra.sweeper.sampler.seed=3",
        "beta=tag(log,interval(0.1,100))",
        "style=good.png,bad.png",
    ]
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:100])
    run = command_line(tmp_path, *search)
    assert run.returncode == 1  # one style cannot be read
    assert "Traceback" not in run.stderr
    assert run.stdout.splitlines()[0] == "a search of 5 jobs: s"
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
    assert [job.folder for job in read_plan(tmp_path / "s").values()] == list(found)
    assert {tuple(job.values) for job in read_plan(tmp_path / "s").values()} == {("beta", "style")}
    assert (tmp_path / "s/pareto.csv").is_file()
    assert (tmp_path / "s/pareto.png").is_file()
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


PAGE = Path(__file__).resolve().parents[2] / "docs/clusters.md"
SEARCHES = re.findall(
    r"^nst-exp -m (.*hydra/sweeper=optuna.*)$",
    PAGE.read_text(encoding="utf-8").replace("\\\n", " "),
    re.M,
)


@optuna
@pytest.mark.parametrize("command", SEARCHES)
def test_documented_search_is_accepted(command: str) -> None:
    arguments = shlex.split(command)
    overrides = OverridesParser.create().parse_overrides(
        [argument for argument in arguments if "hydra" not in argument]
    )
    hydra = [argument for argument in arguments if "hydra" in argument]
    validate(make_config([*hydra, *first_values(overrides)]))


def test_documentation_has_searches() -> None:
    assert SEARCHES


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
    # What is missing or not finite is a failure: Optuna must not be told NaN.
    record["metrics"] = {"content_distance": float("nan"), "style_distance": 0.2}
    assert objectives(two, record, metrics=True) is None
    assert objectives(two, record | {"metrics": {}}, metrics=True) is None
    basic = OmegaConf.create({"_target_": "hydra.BasicSweeper"})
    assert objectives(basic, record, metrics=True) is None


def test_search_checks_itself() -> None:
    check_search(OmegaConf.create({"_target_": "hydra.BasicSweeper"}))
    parsed = OverridesParser.create().parse_overrides(
        ["beta=tag(log,interval(0.1,100))", "+experiment=b,a", "seed=range(2,5)", "size=64"]
    )
    assert first_values(parsed) == ["beta=0.1", "+experiment=b", "seed=2", "size=64"]


def launcher(name: str, **keys: Any) -> Any:
    return OmegaConf.create({"launcher": {"_target_": f"a.b.{name}", **keys}})


def test_cores_are_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert launch.workers(launcher("JoblibLauncher", n_jobs=3), jobs=10) == 3
    assert launch.workers(launcher("JoblibLauncher", n_jobs=-1), jobs=10) == 8
    assert launch.workers(launcher("JoblibLauncher", n_jobs=-1), jobs=2) == 2
    assert launch.workers(launcher("LocalLauncher"), jobs=10) == 10
    assert launch.workers(launcher("SlurmLauncher"), jobs=10) is None
    for together, threads in ((3, 2), (10, 1), (None, None)):
        launch.begin(tmp_path, together)
        assert launch.threads() == threads
    monkeypatch.setenv("OMP_NUM_THREADS", "4")  # somebody has divided them already
    launch.begin(tmp_path, 2)
    assert launch.threads() is None


def test_impossible_launchers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="no srun here"):
        launch.check_launcher(launcher("SlurmLauncher"))
    with pytest.raises(ConfigError, match="n_jobs=0"):
        launch.check_launcher(launcher("JoblibLauncher", n_jobs=0))


def test_jobs_know_whether_their_launch_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NST_EXP_LAUNCH", raising=False)
    assert launch.goes_on(tmp_path)  # nobody launched it: it stops for its own signals only
    launch.begin(tmp_path, None)
    assert launch.goes_on(tmp_path)
    mine = os.environ["NST_EXP_LAUNCH"]
    launch.begin(tmp_path, None)  # the same command once more
    assert launch.goes_on(tmp_path)
    monkeypatch.setenv("NST_EXP_LAUNCH", mine)
    assert not launch.goes_on(tmp_path)
    launch.begin(tmp_path, None)
    launch.stop(tmp_path)
    assert not launch.goes_on(tmp_path)
    assert launch.here()  # this process has begun it


def test_lost_workers_are_told_from_bugs() -> None:
    class TerminatedWorkerError(RuntimeError):
        pass

    assert launch.lost_worker(TerminatedWorkerError("\n killed \n more")) == "killed more"
    assert launch.lost_worker(TerminatedWorkerError()) == "it is gone"
    assert launch.lost_worker(RuntimeError("killed")) is None


def test_job_that_does_not_begin_leaves_no_trace(tmp_path: Path) -> None:
    def written(name: str) -> Path:
        folder = tmp_path / name
        (folder / ".hydra").mkdir(parents=True)
        (folder / ".hydra/config.yaml").touch()
        (folder / "nst_exp.log").touch()
        return folder

    fresh, known, owned = written("fresh"), written("known"), written("owned")
    (known / "result.json").write_text("{}")  # begun before, and to be gone on with
    (owned / "notes.txt").touch()
    for folder in (fresh, known, owned):
        leave_no_trace(folder, folder / "nst_exp.log")
    assert not fresh.exists()
    assert (known / ".hydra/config.yaml").exists()
    assert [path.name for path in owned.iterdir()] == ["notes.txt"]


def test_folders_of_a_search(tmp_path: Path) -> None:
    overrides = ["size=64", "beta=31.415926535897935", "style=a/wave.jpg", "lr=1.2345678e-05"]
    varied = ["beta", "style", "lr"]
    name = folder_of_job(tmp_path, 7, overrides, varied)
    assert name == "007_beta=31.4159,style=wave.jpg,lr=1.23457e-05"
    # Also in the folder of an earlier grid, whose plan names other jobs.
    (tmp_path / name).mkdir()
    (tmp_path / name / "result.json").write_text(json.dumps({"overrides": overrides}))
    add_finished_jobs(tmp_path, varied)
    (job,) = read_plan(tmp_path).values()
    assert job.number == 0
    assert job.values == {"beta": overrides[1][5:], "style": "a/wave.jpg", "lr": "1.2345678e-05"}
    assert folder_of_job(tmp_path, 7, overrides, varied) == name


def test_failure_is_noted_once_and_spares_what_is_done(tmp_path: Path) -> None:
    config = make_config()
    path = tmp_path / "result.json"
    record_failure(tmp_path, config, ConfigError("first"))
    assert json.loads(path.read_text())["error"] == "ConfigError: first"
    path.write_text(json.dumps({"status": "interrupted", "fingerprint": "x", "step": 3}))
    record_failure(tmp_path, config, ConfigError("later"))
    record = json.loads(path.read_text())
    assert (record["status"], record["error"]) == ("failed", "ConfigError: later")
    assert (record["fingerprint"], record["step"]) == ("x", 3)  # its checkpoint still counts
    done = json.dumps({"status": "done", "config": {"image": "a.png"}})
    path.write_text(done)
    (tmp_path / "a.png").touch()
    record_failure(tmp_path, config, ConfigError("later"))
    assert path.read_text() == done
