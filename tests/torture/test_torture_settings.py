"""A small share of the wrong command lines and of the typos; and that they would be caught."""

from __future__ import annotations

from pathlib import Path

import pytest

from nst_exp.app import compose
from nst_exp.config import validate as checks
from tests.faults import settings, typos
from tests.faults.mistakes import mistakes


@pytest.mark.slow
def test_wrong_settings_are_refused(tmp_path: Path) -> None:
    outcome = settings.torture(0.04, tmp_path)
    assert outcome.tried >= 10
    assert not outcome.failures


@pytest.mark.slow
def test_typos_are_recognized(tmp_path: Path) -> None:
    outcome = typos.torture(0.04, tmp_path)
    assert outcome.tried == 9  # eight typos, and the share of them that was recognized
    assert not outcome.failures


@pytest.mark.slow
def test_a_program_without_the_checks_would_be_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "problems_of", lambda config: [])  # in the children as well
    monkeypatch.setattr(compose, "did_you_mean", lambda *_: "")
    monkeypatch.setattr(settings, "mistakes", lambda: [m for m in mistakes() if m.line == "size=8"])
    monkeypatch.setattr(settings, "PLAIN", 0)
    outcome = settings.torture(1.0, tmp_path)
    assert any("size=8: exit code 1, not 2" in failure for failure in outcome.failures)


def test_the_mistakes_are_many_and_different() -> None:
    lines = [mistake.line for mistake in mistakes()]
    assert len(lines) == len(set(lines)) >= 200
    assert all(mistake.words for mistake in mistakes())


def test_typos_are_one_edit_away_and_the_same_every_time() -> None:
    made = typos.typos(200)
    assert made == typos.typos(200)
    assert len(set(made)) > 190
    for typo in made:
        slip = next(part for part in typo.arguments[-1].split("=") if _near(part, typo.meant))
        assert slip != typo.meant


def _near(text: str, name: str) -> bool:
    """Whether the text, without its plus signs and brackets, is one edit away from the name."""
    slip = text.strip("+[]")
    n = len(name)
    return any(
        slip == name[:i] + middle + name[j:]
        for i in range(n + 1)
        for j in range(i, min(i + 3, n + 1))
        for middle in _middles(slip, name, i, j)
    )


def _middles(slip: str, name: str, i: int, j: int) -> list[str]:
    """What may stand in the place of ``name[i:j]``."""
    if j - i == 2:
        return [name[i + 1] + name[i]]
    return ["", slip[i : i + 1]] if j - i == 1 else [slip[i : i + 1]]
