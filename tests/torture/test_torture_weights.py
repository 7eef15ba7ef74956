"""A few of the faults of weights, as ``python -m tests.faults`` injects them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="children are forked")
def test_faults_of_weights() -> None:
    # A process of its own: where autograd has been used, its threads do not survive a fork.
    command = [sys.executable, "-m", "tests.faults", "--only", "weights", "--share", "0.02"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "weights: 3 of 3 as promised" in done.stdout
