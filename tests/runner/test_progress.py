"""The progress bar of a run."""

import os
import sys
import time

import pytest
from helpers_run import tiny_run

from nst_exp.config.pyramid import Level
from nst_exp.runner.progress import NARROWEST, Progress

LEVELS = [Level(0, 32, 4, 0), Level(1, 64, 2, 4)]


def terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """Have stderr look like a terminal of this width."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((columns, 24)))


def test_work_is_pixels_times_steps() -> None:
    bar = Progress(LEVELS, [1000, 4000], done=0, enabled=False)
    assert [bar.work(step) for step in (0, 4, 5, 6)] == [0, 4000, 8000, 12000]


def test_log_file_keeps_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    tiny_run(None, "logging.progress=true")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.strip().startswith("100%")
    assert " 5/5 [" in last
    assert "content" in last


@pytest.mark.parametrize(
    ("columns", "shown", "hidden"),
    [
        (140, "total content style eval px", ""),
        (80, "total eval px", "content style"),
        (50, "", "total eval px"),
    ],
)
def test_text_fits_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    columns: int,
    shown: str,
    hidden: str,
) -> None:
    terminal(monkeypatch, columns)
    bar = Progress(LEVELS, [1000, 4000], done=0, enabled=True)
    losses = ("content 8.000e-01", "style 5.000e-01")
    bar.step, bar.losses = 4, ["total 3.716e+00", "32 px", "eval 13", *losses]
    bar.bar.set_description_str(bar.text())
    bar.bar.update(bar.work(4))
    line = str(bar.bar)
    assert line.startswith(" 33% ")
    assert " 4/6 [00:00 < ?]" in line
    assert all(word in line for word in shown.split())
    assert not any(word in line for word in hidden.split())
    assert len(line) == columns - 1
    assert len(line.split()[1]) >= NARROWEST // 3
    bar.bar.close()
    assert capfd.readouterr().err.endswith(" \r")  # removed: the losses of the result follow


def test_blocks_and_the_time_left_change_between_steps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal(monkeypatch, 80)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    bar = Progress(LEVELS, [1000, 4000], done=0, enabled=True)
    bar.step, bar.losses, bar.left = 1, ["total 1.000e+00"], 90.0
    for seconds, text in ((0, "< 01:30]"), (60, "< 00:30]"), (100, "< 00:00]")):
        bar.estimated = now - seconds
        assert text in bar.text()
    bar._show_block(1, 9)
    bar.evaluation_start -= 3.0
    bar._show_block(4, 9)
    assert bar.text().endswith("total 1.000e+00 block 4 of 9")
    bar._show_block(1, 9)  # of the next evaluation
    assert "block" not in bar.text()
    bar.bar.close()


def test_bar_moves_while_a_step_takes_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal(monkeypatch, 80)
    bar = Progress(LEVELS, [1000, 4000], done=0, enabled=True)
    with bar.shown():
        time.sleep(1.3)
    assert " 0/6 [00:01 < ?]" in capsys.readouterr().err
