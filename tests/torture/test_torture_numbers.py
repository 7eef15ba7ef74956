"""The blocks about numbers: divergences and extreme settings, and runs that go on."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nst_exp.runner.module import StyleTransfer
from tests.faults import numbers, resumes
from tests.faults.numbers import Trial
from tests.faults.watch import Fault, Seen


@pytest.mark.slow
def test_divergences_and_extreme_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Forked children must not inherit the threads of other tests.
    monkeypatch.setattr(numbers, "command", lambda words, folder: (True, ""))
    outcome = numbers.torture(0.04, tmp_path)
    assert outcome.tried >= 5
    assert outcome.failures == []


@pytest.mark.slow
def test_interrupted_and_resumed(tmp_path: Path) -> None:
    outcome = resumes.torture(0.015, tmp_path)
    assert outcome.tried >= 5
    assert outcome.failures == []


def test_a_program_that_loses_the_best_image_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial(["optimizer=adam"], Fault("loss", float("nan"), 4, ever=True), "failed")
    assert numbers.attempt(trial, tmp_path / "sound") == ([], "failed")
    monkeypatch.setattr(StyleTransfer, "restore_best", lambda module: None)
    broken, _ = numbers.attempt(trial, tmp_path / "broken")
    assert broken == ["the picture is not the lowest"]


def test_as_many_trials_as_are_published() -> None:
    assert len(numbers.injected()) >= 24
    assert len(numbers.divergent()) + len(numbers.extreme()) >= 24
    assert resumes.RUNS >= 150


def test_every_pair_of_choices_is_among_the_combinations() -> None:
    found = {
        pair
        for words in resumes.covering(resumes.RUNS)
        for pair in itertools.combinations(enumerate(words), 2)
    }
    sides = itertools.combinations(enumerate(resumes.CHOICES.values()), 2)
    wanted = {
        ((a, one), (b, other))
        for (a, choices), (b, others) in sides
        for one in choices
        for other in others
    }
    assert found == wanted


def test_what_is_kept_of_a_run() -> None:
    def image(value: float) -> NDArray[np.float32]:
        return np.full((1, 1, 3), value, np.float32)

    seen = Seen(
        totals=[5.0, 3.0, float("nan"), 3.0, 4.0],
        images=[image(value) for value in range(5)],
        of_step=[1, 2, 3, 3, 4],
        step=9,
    )
    lowest = seen.lowest()
    assert lowest is not None
    assert lowest.max() == 1.0  # the first of two that are equal, and NaN is not low
    assert seen.stood() == 7
