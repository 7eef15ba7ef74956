"""The command line as a person meets it: words on the screen, exit codes, files."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers_run import TINY, command_line, environment, pixels

from nst_exp.app import main as cli
from nst_exp.config.presets import groups


def in_process(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> int:
    """main() without the seconds of another interpreter; its exit code."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["nst_exp", *arguments])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Call main() in an empty folder: exit code, stdout, stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = in_process(monkeypatch, tmp_path, *arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.mark.slow
def test_help_names_every_group_and_imports_no_torch(tmp_path: Path) -> None:
    done = command_line(tmp_path, "--help", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    for group, names in groups().items():
        assert group in done.stdout
        assert all(name in done.stdout for name in names)
    assert "hydra" in done.stderr  # the list of imports is there
    assert " torch\n" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_mistake_costs_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    done = command_line(tmp_path, "stepps=10")
    assert done.returncode == 2
    assert done.stderr == "error: stepps: no such key; did you mean 'steps'?\n"
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_every_problem_with_values_is_said_and_nothing_is_left(run_here, tmp_path: Path) -> None:
    code, out, err = run_here("steps=0", "content=nope", "bit_depth=12")
    assert code == 2
    assert [line for line in err.splitlines() if line.startswith("error: ")] == [
        "error: steps=0: must be from 1 to 1000000000",
        "error: bit_depth=12: must be one of 8, 16",
        "error: content=nope: no such file",
    ]
    assert "Traceback" not in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_good_run(tmp_path: Path) -> None:
    done = command_line(tmp_path, *TINY, "out=made/here")
    assert (done.returncode, done.stderr) == (0, "")
    folder = tmp_path / "made" / "here"
    assert done.stdout.splitlines()[-1] == "result: made/here/image.png"
    assert pixels(folder / "image.png").shape == (32, 48, 3)
    record = json.loads((folder / "result.json").read_text())
    assert (record["status"], record["config"]["out"]) == ("done", "made/here")
    for name in (".hydra/config.yaml", ".hydra/overrides.yaml", "snapshots/step_000005.png"):
        assert (folder / name).is_file(), name
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_fresh_folders_are_dated(run_here, tmp_path: Path) -> None:
    assert run_here(*TINY, "steps=1")[0] == 0
    assert run_here(*TINY, "steps=1")[0] == 0
    assert len(list(tmp_path.glob("outputs/run/*/image.png"))) == 2


def test_again_in_the_same_folder(run_here, tmp_path: Path) -> None:
    code, out, _ = run_here(*TINY, "out=o")
    assert code == 0
    before = (tmp_path / "o/image.png").stat().st_mtime_ns

    code, out, _ = run_here(*TINY, "out=o")
    assert code == 0
    assert out.splitlines()[0] == "already done: o/image.png"
    assert out.splitlines()[-1] == "result: o/image.png"
    assert (tmp_path / "o/image.png").stat().st_mtime_ns == before

    code, out, err = run_here(*TINY, "out=o", "beta=3")
    assert code == 2
    assert err.startswith("error: out=o: holds another run (status done)")
    assert (tmp_path / "o/image.png").stat().st_mtime_ns == before

    code, out, _ = run_here(*TINY, "out=o", "beta=3", "overwrite=true")
    assert code == 0
    assert (tmp_path / "o/image.png").stat().st_mtime_ns > before


def test_refused_run_leaves_the_other_runs_settings(run_here, tmp_path: Path) -> None:
    assert run_here(*TINY, "steps=1", "out=o")[0] == 0
    before = (tmp_path / "o/.hydra/overrides.yaml").read_bytes()
    assert run_here(*TINY, "steps=2", "out=o")[0] == 2
    assert (tmp_path / "o/.hydra/overrides.yaml").read_bytes() == before


def test_from_image(run_here, tmp_path: Path) -> None:
    assert run_here(*TINY, "seed=3", "init=noise", "out=first")[0] == 0
    assert run_here("from_image=first/image.png", "logging=none", "out=second")[0] == 0
    first, second = (
        json.loads((tmp_path / name / "result.json").read_text()) for name in ("first", "second")
    )
    assert first["losses"] == second["losses"]
    assert not (tmp_path / "second/snapshots").exists()
    code, _, err = run_here("from_image=first/none.png")
    assert (code, err.startswith("error: from_image=first/none.png: ")) == (2, True)


def test_folder_below_a_file(run_here, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, err = run_here(*TINY, "out=file/o")
    assert code == 5
    assert "file/o" in err
    assert err.count("error: ") == 1
    assert "Traceback" not in err


@pytest.mark.slow
def test_weights_out_of_reach(tmp_path: Path) -> None:
    closed = "http://127.0.0.1:9"  # the discard port: nobody listens
    done = command_line(
        tmp_path,
        *[o for o in TINY if not o.startswith("backbone")],
        "backbone=vgg11",
        "out=o",
        NST_EXP_CACHE=str(tmp_path / "cache"),
        TORCH_HOME=str(tmp_path / "torch"),
        http_proxy=closed,
        https_proxy=closed,
        HTTP_PROXY=closed,
        HTTPS_PROXY=closed,
        NO_PROXY="",
        no_proxy="",
    )
    assert done.returncode == 4
    assert "its weights cannot be had" in done.stderr
    assert "What to do:" in done.stderr
    assert "backbone.file=PATH" in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads((tmp_path / "o/result.json").read_text())["status"] == "failed"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_signal_stops_and_the_same_command_goes_on(
    run_here, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    settings = [*TINY, "steps=200", "logging.image_every=1"]
    with subprocess.Popen(
        [sys.executable, "-m", "nst_exp", *settings, "out=o"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 120
        while not (tmp_path / "o/snapshots/step_000003.png").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "stopping after this step" in err
    assert "the same command with out=o goes on there" in err
    assert "Traceback" not in err
    record = json.loads((tmp_path / "o/result.json").read_text())
    assert record["status"] == "interrupted"
    assert 3 <= record["step"] < 200
    assert (tmp_path / "o/last.ckpt").is_file()
    assert pixels(tmp_path / "o/image.png").shape == (32, 48, 3)

    resumed, out, _ = run_here(*settings, "out=o")
    assert resumed == 0
    assert out.splitlines()[0] == f"going on after step {record['step']} of 200"
    assert run_here(*settings, "logging=none", "out=whole")[0] == 0
    assert (pixels(tmp_path / "o/image.png") == pixels(tmp_path / "whole/image.png")).all()
    one, other = (
        json.loads((tmp_path / name / "result.json").read_text()) for name in ("o", "whole")
    )
    assert one["losses"] == other["losses"]


def test_sweep_names_its_jobs_after_what_varies(run_here, tmp_path: Path) -> None:
    code, _, _ = run_here("-m", *TINY, "steps=1", "beta=1,2", "out=s")
    assert code == 0
    jobs = sorted(path.name for path in (tmp_path / "s").glob("[0-9]*"))
    assert [job.partition("_")[0] for job in jobs] == ["000", "001"]
    for job, beta in zip(jobs, (1.0, 2.0), strict=True):
        assert f"beta={beta:g}" in job
        assert (
            json.loads((tmp_path / "s" / job / "result.json").read_text())["config"]["beta"] == beta
        )
