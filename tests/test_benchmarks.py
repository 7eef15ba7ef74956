"""The benchmarks that are run elsewhere: on a GPU, and on a quiet machine with another program."""

import sys
from pathlib import Path

import pytest
import torch
from helpers_run import picture
from torchvision import models

from benchmarks import gpu, peers

# Minimizes the mean square of the image, with the command line of neural-style-pt.
PROGRAM = """
import sys
import torch

def preprocess(name, size):
    return torch.ones(1, 3, 32, 48)

def main():
    arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    assert arguments["-content_image"].endswith("image.png")
    image = torch.nn.Parameter(preprocess("", 0))
    optimizer = torch.optim.LBFGS([image], max_iter=4)

    def closure():
        optimizer.zero_grad()
        total = 1e9 + (image**2).mean()
        total.backward()
        return total

    optimizer.step(closure)
"""


@pytest.mark.slow
def test_all_of_the_gpu_script_runs_on_a_cpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu.main(["--device", "cpu", "--small", "--out", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith(f"look at {tmp_path / 'main' / 'image.png'}")
    rows = [line.split(" | ")[:2] for line in lines if line.startswith("| ")]
    assert rows[1:4] == [["| 48", name] for name in ("float32", "TF32", "bf16-mixed")]
    assert rows[5] == ["| 96", "32"]
    assert "deterministic, twice: the same" in lines
    assert "largest size of these that fits: 96" in lines


@pytest.mark.slow
def test_peers_are_compared_and_runs_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(picture(tmp_path / "image.png", (96, 64)))
    program = tmp_path / "program" / "neural_style"
    program.mkdir(parents=True)
    (program / "neural_style.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(program.parent))
    monkeypatch.setattr(peers, "make_environment", lambda folder: sys.executable)
    features = models.vgg16(weights=None).features.state_dict(prefix="features.")
    torch.save(features, tmp_path / "vgg16.pth")
    monkeypatch.setattr(peers, "save_weights", lambda folder: tmp_path / "vgg16.pth")
    monkeypatch.setattr(peers, "COUNTS", (1, 2))
    settings = ["--content", image, "--style", image, "--steps", "2", "--threads", "1"]
    settings += ["--sizes", "48", "--starts", "content", "--folder", str(tmp_path)]
    peers.main([*settings, "--memory-sizes"])
    out = capsys.readouterr().out
    rows = [line.split(" | ") for line in out.splitlines() if line.startswith("| ")]
    assert [row[:2] for row in rows[1:]] == [["| 1", "1000000"], ["| 2", "1000000"]]
    assert "neural-style-pt's lowest total after 1 evaluations here: " in out
    with monkeypatch.context() as patched:
        patched.setattr(peers.subprocess, "run", lambda *_, **__: pytest.fail("repeated"))
        peers.main([*settings, "--memory-sizes"])
    assert capsys.readouterr().out == out
