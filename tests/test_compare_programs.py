"""The comparison with other programs, with a program of a few lines."""

from pathlib import Path

import pytest
import torch
from helpers_run import picture

ROOT = Path(__file__).resolve().parents[1]
# Minimizes the mean square of the image, with the command line of neural-style-pt.
PROGRAM = """
import sys
import torch

def main():
    assert sys.argv[sys.argv.index("-image_size") + 1] == "48"
    image = torch.ones(1, 3, 32, 48, requires_grad=True)
    optimizer = torch.optim.LBFGS([image], max_iter=1000, tolerance_change=-1, tolerance_grad=-1)

    def closure():
        optimizer.zero_grad()
        total = (image**2).mean()
        total.backward()
        return total

    optimizer.step(closure)
    raise AssertionError("it ends after five evaluations")
"""


def test_program_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    from compare_programs import main

    (tmp_path / "neural_style.py").write_text(PROGRAM)
    image = str(picture(tmp_path / "image.png", (96, 64)))
    main(["--neural-style-pt", str(tmp_path), "--content", image, "--style", image, "--size", "48"])
    out, err = capsys.readouterr()
    row = [cell.strip() for cell in out.splitlines()[-1].strip("|").split("|")]
    assert row[0] == "neural-style-pt"
    assert row[4:] == ["-", "48x32", "-"]
    assert all(float(difference) > 0 for difference in row[1:4])
    assert "pystiche: skipped; --pystiche DIR compares it" in err
    assert torch.get_default_dtype() is torch.float32
