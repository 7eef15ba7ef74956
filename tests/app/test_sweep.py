"""Sweeps: validated before the first job, stopped, resumed, extended; failures stay alone."""

import json
import signal
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from helpers_run import TINY, picture, records, start_forked

from nst_exp.runner import network

SMALL = [*TINY, "logging.loggers=[]", "logging.snapshots=false"]
GRID = ["-m", *SMALL, "out=s"]


def plan_of(sweep: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((sweep / "sweep.json").read_text())
    return found


@pytest.mark.slow
def test_jobs_are_named_after_what_varies_and_reported(run_here, tmp_path: Path) -> None:
    code, out, err = run_here(*GRID, "steps=1", "beta=1,2", "+experiment=quick,fine", "size=32")
    assert (code, err) == (0, "")
    found = records(tmp_path / "s")
    assert list(found) == [
        *("000_beta=1,experiment=quick", "001_beta=1,experiment=fine"),
        *("002_beta=2,experiment=quick", "003_beta=2,experiment=fine"),
    ]
    assert [record["config"]["beta"] for record in found.values()] == [1.0, 1.0, 2.0, 2.0]
    lines = out.splitlines()
    assert lines[:4] == [
        "4 jobs: s",
        "content  chelsea, 451x300 pixels",
        "style    starry_night, 640x505 pixels",
        "result   32x21 pixels, 1 step, network squeezenet1_1",
    ]
    assert [line.partition(";")[0] for line in lines if line.startswith("job ")] == [
        f"job {number} of 4" for number in (1, 2, 3, 4)
    ]
    for name in ("sheet.png", "results.csv", "report.html"):
        assert (tmp_path / "s" / name).is_file()
    log = (tmp_path / "s/003_beta=2,experiment=fine/nst_exp.log").read_text()
    assert "result: s/003_beta=2,experiment=fine/image.png" in log
    assert "report: " not in log


@pytest.mark.slow
def test_an_experiments_own_sweep(run_here, tmp_path: Path) -> None:
    arguments = [*SMALL, "+experiment=paper_fig3", "panel=B,C", "steps=1", "size=32", "out=s"]
    tiny = ["backbone=squeezenet1_1", "backbone.weights=random", "loss.content.layers=[fire2]"]
    code, _, err = run_here("-m", *arguments, *tiny, "loss.style.layers=[fire2]")
    assert (code, err) == (0, "")
    assert list(records(tmp_path / "s")) == ["000_panel=B", "001_panel=C"]
    assert (tmp_path / "s/figure.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("sweeper", ["basic", "optuna"])
def test_texts_of_jobs_stay_as_they_were_typed(run_here, tmp_path: Path, sweeper: str) -> None:
    """On the command line, where they replace an earlier value, and in an experiment."""
    pytest.importorskip("optuna")
    for seed, name in enumerate(["1_2", "1e3", "1.10", "a (1)"]):
        picture(tmp_path / f"{name}.png", (48, 48), seed).rename(tmp_path / name)
    (tmp_path / "own/experiment").mkdir(parents=True)
    (tmp_path / "own/experiment/2024-01-15.yaml").write_text(
        "# @package _global_\nhydra: {sweeper: {params: {style: '1_2,1e3'}}}\n"
    )
    own = [text for text in SMALL if not text.startswith("style=")]
    command = ["-m", *own, "steps=1", "content=1.10,a (1)", "out=1_0", f"hydra/sweeper={sweeper}"]
    search = ["hydra.sweeper.n_trials=4", "hydra/sweeper/sampler=grid"] * (sweeper == "optuna")
    command += ["--config-dir=own", "+experiment=2024-01-15", *search]
    assert run_here(*command)[::2] == (0, "")
    found = records(tmp_path / "1_0")
    used = {(r["config"]["style"], r["config"]["content"]) for r in found.values()}
    assert used == {("1_2", "1.10"), ("1_2", "a (1)"), ("1e3", "1.10"), ("1e3", "a (1)")}
    assert {name.partition("_")[2] for name in found} == {
        *("style=1_2,content=1.10", "style=1_2,content=a-1-"),
        *("style=1e3,content=1.10", "style=1e3,content=a-1-"),
    }
    if sweeper == "basic":  # Optuna's grid has another order each time
        assert run_here(*command)[0] == 0
        assert records(tmp_path / "1_0") == found


@pytest.mark.slow
def test_problems_of_all_jobs_come_before_the_first(run_here, tmp_path: Path) -> None:
    code, out, err = run_here(*GRID, "content=nope,summer_palace", "steps=1,0", "size=1,2,48,49")
    assert (code, out) == (2, "")
    assert "error: content=nope: no such file" in err
    assert "error: steps=0: must be from 1 to 1000000000\n    in 8 of 16 jobs: content=" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "backbone", "layer", "said"),
    [
        ("32,40000", "resnet18", "layer1", "this machine has 0.2 GB; use size="),
        ("200,40", "alexnet", "relu5", "the network needs at least 31 pixels on the shorter"),
        ("448,449", "vit_b_16", "conv_proj", "vit_b_16: takes no images of 448x299 pixels"),
        ("32,64", "resnet18", "Mixed_7a.cat", "backbone=resnet18 has no layer 'Mixed_7a.cat'"),
    ],
)
def test_sizes_and_layers_of_all_jobs_are_checked_before_the_first(
    run_here,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    size: str,
    backbone: str,
    layer: str,
    said: str,
) -> None:
    monkeypatch.setattr("nst_exp.runner.memory.installed", lambda device: 25 * 10**7)
    monkeypatch.setattr("nst_exp.runner.run.run", lambda *_, **__: pytest.fail("a job begins"))
    words = ["backbone=torchvision", f"backbone.name={backbone}", "backbone.weights=random"]
    words += [f"loss.{name}.layers=[{layer}]" for name in ("content", "style")]
    for arguments in (["-m", f"size={size}"], [f"size={size.split(',')[1]}"]):
        code, _, err = run_here(*words, *arguments, "out=s")
        assert (code, list(tmp_path.iterdir())) == (2, [])
        assert said.replace("448x299", "449x300" if "-m" not in arguments else "448x299") in err


@pytest.mark.slow
def test_a_sweep_is_skipped_extended_and_refused(run_here, tmp_path: Path) -> None:
    assert run_here(*GRID, "beta=1,2")[0] == 0
    first = records(tmp_path / "s")
    assert "2 of 2 jobs are done already\n" in run_here(*GRID, "beta=1,2")[1]
    assert records(tmp_path / "s") == first
    # With another grid, what exists keeps its folder, in another order and with a second key.
    assert run_here(*GRID, "beta=3,2", "seed=0,1")[0] == 0
    found = records(tmp_path / "s")
    assert list(found) == [
        *("000_beta=1", "001_beta=2", "002_beta=3,seed=0", "003_beta=3,seed=1"),
        "004_beta=2,seed=1",
    ]
    assert found["001_beta=2"] == first["001_beta=2"]
    plan = plan_of(tmp_path / "s")
    assert plan["launch"] == [
        *("002_beta=3,seed=0", "003_beta=3,seed=1", "001_beta=2", "004_beta=2,seed=1")
    ]
    assert [job["folder"] for job in plan["jobs"]] == list(found)
    code, _, err = run_here(*GRID, "beta=1,2", "steps=4")
    assert code == 2
    assert err.startswith(
        "error: out=s: holds jobs made with steps=5 instead of 4; give another out=DIR, or "
        "overwrite=true to replace them\n"
    )
    assert records(tmp_path / "s") == found
    code, out, _ = run_here(*GRID, "beta=1,2", "steps=6")
    assert (code, "done already" in out) == (0, False)
    assert records(tmp_path / "s")["000_beta=1"]["step"] == 6


@pytest.mark.slow
def test_grid_with_the_same_job_twice_has_two_folders(run_here, tmp_path: Path) -> None:
    """Jobs may run side by side, and two must not write into one folder."""
    for _ in range(2):
        assert run_here(*GRID, "steps=1", "beta=1,1.0,1")[0] == 0
        assert list(records(tmp_path / "s")) == ["000_beta=1", "001_beta=1.0", "002_beta=1"]
        assert len(set(plan_of(tmp_path / "s")["launch"])) == 3


@pytest.mark.slow
@pytest.mark.parametrize("fail_fast", [False, True])
def test_failing_job_costs_nothing_but_itself(run_here, tmp_path: Path, fail_fast: bool) -> None:
    picture(tmp_path / "good.png", (40, 40))
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:100])
    grid = [*GRID, "style=bad.png,good.png", f"fail_fast={str(fail_fast).lower()}"]
    code, out, err = run_here(*grid)
    assert code == 1
    assert "Traceback" not in err
    assert "error: style=bad.png: " in err
    assert "the same command with out=s does what is left" in err
    assert "report: s/report.html" in out  # also after failures
    found = records(tmp_path / "s")
    assert found["000_style=bad.png"]["status"] == "failed"
    assert "bad.png" in str(found["000_style=bad.png"]["error"])
    assert ("001_style=good.png" in found) != fail_fast
    # With the image corrected, the same command does what is left.
    picture(tmp_path / "bad.png", (40, 40), seed=1)
    assert run_here(*grid)[0] == 0
    after = records(tmp_path / "s")
    assert [record["status"] for record in after.values()] == ["done", "done"]
    if not fail_fast:
        assert after["001_style=good.png"] == found["001_style=good.png"]


@pytest.mark.slow
def test_bug_in_a_job_leaves_its_traceback_there(
    run_here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nst_exp.runner.run.load_inputs", lambda *_: 1 / 0)
    code, _, err = run_here(*GRID, "seed=0,1")
    assert code == 1
    assert err.count("error: ZeroDivisionError: division by zero") == 2
    assert "error: 0 of 2 jobs done, 2 failed; the same command with out=s" in err
    assert "Traceback" not in err
    for job in ("000_seed=0", "001_seed=1"):
        assert "Traceback" in (tmp_path / "s" / job / "nst_exp.log").read_text()
        assert records(tmp_path / "s")[job]["status"] == "failed"


@pytest.mark.slow
def test_folder_of_a_running_sweep_is_locked(run_here, tmp_path: Path) -> None:
    from nst_exp.results.lock import folder_lock

    with folder_lock(tmp_path / "s"):
        code, _, err = run_here(*GRID, "beta=1,2")
    assert code == 2
    assert "another process" in err
    assert run_here(*GRID, "steps=1", "beta=1,2")[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_termination_ends_the_sweep_with_its_code(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    command = start_forked(
        tmp_path, "-m", *TINY, "out=s", "steps=400", "beta=1,2", "logging.image_every=1"
    )
    command.wait_for(tmp_path, "s/000_beta=1/snapshots/*3.png")
    command.send(number)
    assert command.wait().code == code, command.text
    assert [line for line in command.text.splitlines() if "the same command" in line] == [
        "error: 0 of 2 jobs done, 1 interrupted, 1 not started; the same command with out=s does "
        "what is left"
    ]
    assert "Traceback" not in command.text
    assert list(records(tmp_path / "s")) == ["000_beta=1"]
    assert records(tmp_path / "s")["000_beta=1"]["status"] == "interrupted"


@pytest.mark.slow
def test_weights_and_targets_are_made_once(run_here) -> None:
    """The second job of a process neither builds a network nor computes a target."""
    with (
        patch.object(network, "build_encoder", wraps=network.build_encoder) as built,
        patch.object(network, "feature_maps", wraps=network.feature_maps) as mapped,
    ):
        assert run_here(*GRID, "beta=1,2,3")[0] == 0
    assert (built.call_count, mapped.call_count) == (1, 2)
