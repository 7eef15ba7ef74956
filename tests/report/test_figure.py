"""Runs and sweeps that end in a figure."""

from pathlib import Path

import numpy as np
import pytest
from helpers_run import TINY, forked_command, picture, pixels, tiny_run

from nst_exp.report.__main__ import main
from nst_exp.results.run_folder import read_run_folder

SETTINGS = ["size=32", "steps=1", "logging=none", "logging.progress=false"]


def test_run_saves_its_inputs_as_it_used_them(tmp_path: Path) -> None:
    """Also a finished run that becomes a panel, without being repeated."""
    options = [*SETTINGS, "resolution.style_scale=0.5"]
    path = tiny_run(tmp_path, *options).path
    assert path is not None
    assert not (tmp_path / "inputs").exists()
    before = path.stat().st_mtime_ns
    for label in ("one", "two"):
        tiny_run(tmp_path, *options, "figure.title=T", f"figure.label={label}")
        assert path.stat().st_mtime_ns == before
        assert read_run_folder(tmp_path).label == label
    content, style = (pixels(tmp_path / "inputs" / f"{key}.jpg") for key in ("content", "style"))
    assert content.shape == pixels(path).shape
    assert max(style.shape) == 16
    assert read_run_folder(tmp_path).saved_input("content") == tmp_path / "inputs/content.jpg"


EXPERIMENT = """\
# @package _global_
panel: A
style: ${nst_panel:style}
figure:
  title: Figure 9
  label: '${panel}: ${nst_panel:style}'
  columns: 3
  inputs: [content]
  inset: true
  panels: {A: {style: a.png}, B: {style: b.png}}
hydra: {sweeper: {params: {panel: 'A,B'}}}
"""


@pytest.mark.slow
def test_runs_and_sweeps_end_in_a_figure(tmp_path: Path) -> None:
    (tmp_path / "presets/experiment").mkdir(parents=True)
    (tmp_path / "presets/experiment/two.yaml").write_text(EXPERIMENT)
    for seed, name in enumerate(("a.png", "b.png")):
        picture(tmp_path / name, (60, 40), seed)
    common = [o for o in TINY if not o.startswith(("style=", "size=", "steps="))]
    given = ["--config-dir", "presets", "+experiment=two", *common, *SETTINGS]
    run = forked_command(tmp_path, *given, "panel=B", "out=o")
    assert "figure: o/figure.png" in run.stdout, run.stderr
    assert (tmp_path / "o/figure.png").is_file()
    run = forked_command(tmp_path, "-m", *given, "out=s")
    assert (run.returncode, run.stderr) == (0, "")
    assert "figure: s/figure.png" in run.stdout
    figure = pixels(tmp_path / "s/figure.png")
    for name in ("000_panel=A/inputs/content.jpg", "001_panel=B/image.png"):
        row = pixels(tmp_path / "s" / name)[2]  # above the inset
        windows = np.lib.stride_tricks.sliding_window_view(figure, (1, *row.shape))
        assert (windows.reshape(-1, *row.shape) == row).all(axis=(1, 2)).any(), name
    for name in ("a.png", "b.png", "s/figure.png"):
        (tmp_path / name).unlink()
    assert main([str(tmp_path / "s")]) == 0  # from the folders alone
    assert np.array_equal(pixels(tmp_path / "s/figure.png"), figure)
