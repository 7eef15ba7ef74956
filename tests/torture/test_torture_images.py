"""The blocks of labeled and of damaged pictures, in small; and that they notice what is broken."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nst_exp.images import LoadedImage, load_image
from nst_exp.utils.errors import ConfigError
from tests.faults import fuzz, images, labeled, trials
from tests.faults.labeled import Labeled
from tests.faults.outcome import Outcome

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Labeled]:
    right, wrong = tmp_path_factory.mktemp("right"), tmp_path_factory.mktemp("wrong")
    return [*images.right(right), *images.wrong(wrong)]


def test_labeled_pictures(tmp_path: Path, files: list[Labeled]) -> None:
    outcome = Outcome("", "")
    assert len(files) >= 120
    assert len({file.path for file in files}) == len(files)
    images._load(outcome, files, 0.1, tmp_path)
    assert outcome.tried == round(0.1 * len(files))
    assert not outcome.failures


@pytest.mark.slow
def test_labeled_pictures_through_the_whole_program() -> None:
    # A process of its own: where autograd has been used, its threads do not survive a fork.
    command = [sys.executable, "-m", "tests.faults", "--only", "images", "--share", "0.05"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "; 2 through the whole program" in done.stdout


def test_damaged_pictures(tmp_path: Path) -> None:
    outcome = fuzz.torture(0.01, tmp_path)
    assert outcome.tried == 1000
    assert not outcome.failures
    assert fuzz.mutant(7) == fuzz.mutant(7)


def raw_pillow(path: Path, **_: Any) -> LoadedImage:
    with Image.open(path) as image:
        return LoadedImage(image.convert("RGB"), path, "", image.size)


def noisy(path: Path, **options: Any) -> LoadedImage:
    print("libtiff says something")
    return load_image(path, **options)


def two_lines(path: Path, **_: Any) -> LoadedImage:
    raise ConfigError(f"content={path}: bad\nvery bad; give up")


def crashes(path: Path, **_: Any) -> LoadedImage:
    os.kill(os.getpid(), signal.SIGKILL)


def hungry(path: Path, **options: Any) -> LoadedImage:
    held = mmap.mmap(-1, 2**28)  # not from the heap, where other tests have left room
    np.frombuffer(held, np.uint8)[:: mmap.PAGESIZE] = 1

    return load_image(path, **options)


@pytest.mark.parametrize(
    ("loader", "reason"),
    [
        (raw_pillow, "raised UnidentifiedImageError"),
        (noisy, "printed 'libtiff says something"),
        (two_lines, "a poor refusal"),
        (crashes, "killed by signal 9"),
        (hungry, "took "),
    ],
)
def test_a_bad_loader_is_found_out(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    loader: Callable[..., LoadedImage],
    reason: str,
) -> None:
    monkeypatch.setattr(fuzz, "load_image", loader)
    outcome = fuzz.torture(0.0002, tmp_path)
    assert outcome.tried == 20
    assert any(reason in failure for failure in outcome.failures), outcome.failures


def test_wrong_pixels_are_found_out(
    tmp_path: Path, files: list[Labeled], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["6.png", "adobe.png", "rgba.png", "white is 0.tif", "cmyk.tif", "empty.jpg", "x.gif"]
    some = [file for file in files if file.name in names]
    monkeypatch.setattr(labeled, "load_image", raw_pillow)
    outcome = Outcome("", "")
    images._load(outcome, some, 1.0, tmp_path)
    assert outcome.tried >= len(names)
    # There "white is 0.tif" has 8 bits, which Pillow inverts by itself.
    assert outcome.kept == sum("palettes_and_gray" in str(file.path) for file in some) == 1


def test_a_hang_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "ALARM", 0.1)
    monkeypatch.setattr(trials, "PATIENCE", 0.3)

    def trial(number: int) -> str:
        if number == 1:
            with suppress(Exception):  # what a loader that catches every Exception does
                os.read(never, 1)
        if number == 3:  # in C, where no Python signal handler gets a turn
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
            os.read(never, 1)
        return "done"

    never, _ = os.pipe()
    endings = list(trials.in_children(trial, range(5), tmp_path))
    assert [ending.number for ending in endings] == [0, 1, 2, 3, 4]
    assert [ending.result for ending in endings] == ["done", None, "done", None, "done"]
    assert endings[1].lost == "hung for 0 s"
    assert endings[3].lost.endswith("killed")
