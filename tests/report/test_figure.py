"""Runs and sweeps that end in a figure."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_run import TINY, picture, pixels, tiny_run

from nst_exp.app import main as cli
from nst_exp.report.__main__ import main
from nst_exp.results.record import read_record
from nst_exp.results.run_folder import read_run_folder

SETTINGS = ["size=32", "steps=1", "logging=none", "logging.progress=false"]


def test_run_saves_its_inputs_as_it_used_them(tmp_path: Path) -> None:
    result = tiny_run(tmp_path / "o", *SETTINGS, "figure.title=T", "resolution.style_scale=0.5")
    content, style = (pixels(tmp_path / "o/inputs" / f"{key}.jpg") for key in ("content", "style"))
    assert content.shape == pixels(result.path).shape
    assert max(style.shape) == 16
    assert read_record(tmp_path / "o")["inputs"]["content"]["copy"] == "inputs/content.jpg"
    tiny_run(tmp_path / "plain", "steps=1")
    assert not (tmp_path / "plain/inputs").exists()


def test_finished_run_becomes_a_panel_without_being_repeated(tmp_path: Path) -> None:
    tiny_run(tmp_path, *SETTINGS)
    path = tmp_path / "image.png"
    before = path.stat().st_mtime_ns
    for label in ("one", "two"):
        tiny_run(tmp_path, *SETTINGS, "figure.title=T", f"figure.label={label}")
        assert path.stat().st_mtime_ns == before
        assert read_run_folder(tmp_path).label == label
        assert (tmp_path / "inputs/style.jpg").is_file()


@pytest.fixture
def program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Return main() with an experiment of two panels: exit code, stdout, stderr."""
    (tmp_path / "presets/experiment").mkdir(parents=True)
    (tmp_path / "presets/experiment/two.yaml").write_text(
        "# @package _global_\n"
        "panel: A\nstyle: ${panel:style}\n"
        "figure:\n"
        "  title: Figure 9\n  label: '${panel}: ${panel:style}'\n  columns: 3\n"
        "  inputs: [content]\n  inset: true\n"
        "  panels: {A: {style: a.png}, B: {style: b.png}}\n"
        "hydra: {sweeper: {params: {panel: 'A,B'}}}\n"
    )
    picture(tmp_path / "a.png", (60, 40), seed=1)
    picture(tmp_path / "b.png", (60, 40), seed=2)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        common = [o for o in TINY if not o.startswith(("style=", "size=", "steps="))]
        flags = [argument for argument in arguments if argument.startswith("-")]
        given = ["nst_exp", *flags, "--config-dir", "presets", "+experiment=two", *common]
        monkeypatch.setattr(sys, "argv", [*given, *SETTINGS, *arguments[len(flags) :]])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_single_run_ends_in_a_figure(program: Callable[..., Any], tmp_path: Path) -> None:
    code, out, _ = program("panel=B", "out=o")
    assert code == 0
    assert "figure: o/figure.png" in out
    assert (tmp_path / "o/figure.png").is_file()
    assert "figure:" not in program("out=o", "figure.title=", "panel=B")[1]


@pytest.mark.slow
def test_sweep_ends_in_a_figure(program: Callable[..., Any], tmp_path: Path) -> None:
    code, out, err = program("-m", "out=s")
    assert code == 0, err
    assert "figure: s/figure.png" in out
    figure = pixels(tmp_path / "s/figure.png")
    for name in ("000_panel=A/inputs/content.jpg", "001_panel=B/image.png"):
        row = pixels(tmp_path / "s" / name)[2]  # above the inset
        windows = np.lib.stride_tricks.sliding_window_view(figure, (1, *row.shape))
        assert (windows.reshape(-1, *row.shape) == row).all(axis=(1, 2)).any(), name
    for name in ("a.png", "b.png", "s/figure.png"):
        (tmp_path / name).unlink()
    assert main(["s"]) == 0  # from the folders alone
    assert np.array_equal(pixels(tmp_path / "s/figure.png"), figure)
