"""Kills and full disks: a handful of each, as the long proof does them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import children

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
def test_a_few_of_each() -> None:
    """In a process of its own: forked children must not inherit the threads of other tests."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--share", "0.02", "--only", "crashes", "disks"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_program_that_breaks_its_promise_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that could not fail would prove nothing."""
    from tests.faults import crashes

    commands: list[list[str]] = []

    def run(arguments: list[str], output: Path, *rest: object) -> children.Child:
        commands.append(arguments)
        output.write_text("Traceback (most recent call last):\n")
        return children.Child(0, output, code=1)

    monkeypatch.setattr(children, "run", run)
    outcome = crashes.torture(0.01, tmp_path)
    assert outcome.failures
    assert commands
