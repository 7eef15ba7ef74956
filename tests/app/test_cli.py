"""The command line as a user meets it: words on the screen, exit codes, files."""

import json
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers_run import TINY, command_line, forked_command, pixels, start_forked, tiny_run

from nst_exp.app.help import help_text
from nst_exp.config.presets import groups
from nst_exp.results.record import versions
from nst_exp.runner.result import Result


def test_help_names_every_group_and_imports_neither_hydra_nor_torch(tmp_path: Path) -> None:
    done = command_line(tmp_path, "--help", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    assert done.stdout == f"{help_text()}\n"
    for group, names in groups().items():
        assert group in done.stdout
        assert all(name in done.stdout for name in names)
    assert "nst_exp.app.help" in done.stderr  # the list of imports is there
    assert " torch\n" not in done.stderr
    assert " hydra\n" not in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert max(map(len, done.stdout.splitlines())) < 80


def test_version(tmp_path: Path) -> None:
    done = command_line(tmp_path, "--version", PYTHONPROFILEIMPORTTIME="1")
    assert done.stdout == f"nst_exp {versions()['nst-exp']}\n"
    assert " hydra\n" not in done.stderr


def test_every_problem_with_values_is_shown_and_nothing_is_left(run_here, tmp_path: Path) -> None:
    code, out, err = run_here("steps=0", "content=nope", "bit_depth=12")
    assert (code, out) == (2, "")
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert sorted(lines) == [
        "error: bit_depth=12: must be one of 8, 16",
        "error: content=nope: no such file",
        "error: steps=0: must be from 1 to 1000000000",
    ]
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_good_run(run_here, tmp_path: Path) -> None:
    code, out, err = run_here(*TINY, "out=made/here")
    assert (code, err) == (0, "")
    folder = tmp_path / "made" / "here"
    lines = out.splitlines()
    assert lines[:4] == [
        "content  chelsea, 451x300 pixels",
        "style    starry_night, 640x505 pixels",
        "result   48x32 pixels, 5 steps, network squeezenet1_1",
        "watch    made/here/latest.png",
    ]
    assert lines[4].startswith("device   ")
    assert lines[-1] == "result: made/here/image.png"
    assert pixels(folder / "image.png").shape == (32, 48, 3)
    record = json.loads((folder / "result.json").read_text())
    assert (record["status"], record["config"]["out"]) == ("done", "made/here")
    assert record["overrides"] == [*TINY, "out=made/here"]
    assert "result: made/here/image.png" in (folder / "nst_exp.log").read_text()
    assert (folder / "snapshots/step_000005.png").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_fresh_folders_are_dated(run_here, tmp_path: Path) -> None:
    for _ in range(2):
        assert run_here(*TINY, "steps=1")[0] == 0
    assert len(list(tmp_path.glob("outputs/run/*/image.png"))) == 2


@pytest.mark.slow
def test_again_in_the_same_folder(run_here, tmp_path: Path) -> None:
    assert run_here(*TINY, "out=o")[0] == 0
    image, overrides = tmp_path / "o/image.png", tmp_path / "o/.hydra/overrides.yaml"
    before = (image.stat().st_mtime_ns, overrides.read_bytes())

    code, out, _ = run_here(*TINY, "out=o")
    assert code == 0
    assert out.splitlines()[0] == "already done: o/image.png"

    code, out, err = run_here(*TINY, "out=o", "beta=3")
    assert code == 2
    assert err == (
        "error: out=o: holds another run (status done), made with beta=5 instead of 3; give "
        "another out=DIR, or overwrite=true to start again\n"
    )
    assert (image.stat().st_mtime_ns, overrides.read_bytes()) == before

    assert run_here(*TINY, "out=o", "beta=3", "overwrite=true")[0] == 0
    assert image.stat().st_mtime_ns > before[0]


@pytest.mark.slow
def test_from_image(run_here, tmp_path: Path) -> None:
    assert run_here(*TINY, "seed=3", "init=noise", "out=first")[0] == 0
    assert run_here("from_image=first/image.png", "logging=none", "out=second")[0] == 0
    first, second = (
        json.loads((tmp_path / name / "result.json").read_text()) for name in ("first", "second")
    )
    assert first["losses"] == second["losses"]
    assert not (tmp_path / "second/snapshots").exists()


def test_folder_below_a_file(run_here, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, err = run_here(*TINY, "out=file/o")
    assert code == 5
    assert "file/o" in err
    assert err.count("error: ") == 1
    assert "Traceback" not in err


def test_print_the_config_and_complete_words(run_here, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = run_here("--cfg", "job", "steps=7")
    assert code == 0
    assert "steps: 7" in out.splitlines()
    monkeypatch.setenv("COMP_LINE", "nst-exp optimizer=ad")
    monkeypatch.setenv("COMP_POINT", "20")
    code, out, _ = run_here("-sc", "query=bash")
    assert (code, out) == (0, "optimizer=adam\n")


@pytest.mark.slow
def test_weights_out_of_reach(tmp_path: Path) -> None:
    closed = "http://127.0.0.1:9"  # the discard port: nobody listens
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), closed)
    done = forked_command(
        tmp_path,
        *[o for o in TINY if not o.startswith("backbone")],
        *("backbone=vgg11", "out=o"),
        NST_EXP_CACHE=str(tmp_path / "cache"),
        TORCH_HOME=str(tmp_path / "torch"),
        NO_PROXY="",
        no_proxy="",
        **proxies,
    )
    assert done.returncode == 4
    assert "What to do:" in done.stderr
    assert "backbone.file=PATH" in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads((tmp_path / "o/result.json").read_text())["status"] == "failed"


STEPS = [*TINY, "steps=60", "logging.image_every=1"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The run of the next test without a signal."""
    return tiny_run(tmp_path_factory.mktemp("whole"), *STEPS[len(TINY) :])


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_signal_stops_and_the_same_command_goes_on(
    run_here, tmp_path: Path, whole: Result, number: signal.Signals, code: int
) -> None:
    command = start_forked(tmp_path, *STEPS, "out=o")
    command.wait_for(tmp_path, "o/snapshots/step_000003.png")
    command.send(number)
    command.wait()
    assert command.wrong(code, "stopping after this step", "the same command with out=o") == []
    record = json.loads((tmp_path / "o/result.json").read_text())
    assert record["status"] == "interrupted"
    assert 3 <= record["step"] < 60
    assert pixels(tmp_path / "o/image.png").shape == (32, 48, 3)

    resumed, out, _ = run_here(*STEPS, "out=o")
    assert resumed == 0
    assert f"resuming after step {record['step']} of 60\n" in out
    assert (pixels(tmp_path / "o/image.png") == np.asarray(whole.image)).all()
    assert json.loads((tmp_path / "o/result.json").read_text())["losses"] == whole.losses
