"""``loss.more``: further style terms of a run; total variation of images that tile."""

import itertools
from pathlib import Path

import pytest
import torch
from helpers_run import tiny_run

from nst_exp.config import schema
from nst_exp.core.image_terms import total_variation

STEP = ["steps=1", "optimizer=adam"]  # the losses of the first step are those of the start
DEVIATION = [
    f"loss.more.deviation.{setting}"
    for setting in ("layers=[fire4]", "weights=[2]", "statistic=std", "relative=true", "weight=3")
]


def test_a_run_with_more_terms(tmp_path: Path) -> None:
    """They count in the total and are logged, but losses.csv keeps its columns."""
    plain = tiny_run(tmp_path / "plain", *STEP)
    result = tiny_run(tmp_path / "more", *STEP, *DEVIATION, "+loss.more.averages.statistic=mean")
    assert result.record["layers"]["deviation"] == ["fire4"]
    assert result.record["layers"]["averages"] == result.record["layers"]["style"]
    losses = result.losses
    assert losses["deviation"] == 2.0 * losses["deviation/fire4"] > 0
    rows = [(tmp_path / name / "losses.csv").read_text().split() for name in ("plain", "more")]
    assert rows[0][0] == rows[1][0]
    assert float(rows[1][1].split(",")[2]) > float(rows[0][1].split(",")[2])
    assert plain.losses.keys() < losses.keys()


@pytest.mark.parametrize("kind", list(schema.TVKind))
@pytest.mark.parametrize("reduction", list(schema.Reduction))
def test_total_variation_of_tiles(kind: schema.TVKind, reduction: schema.Reduction) -> None:
    """Each pixel with its neighbors modulo the size, in float64; also the derivative."""
    height, width = 3, 4
    x = torch.rand(1, 3, height, width, dtype=torch.float64)
    expected = 0.0
    for c, i, j in itertools.product(range(3), range(height), range(width)):

        def to(di: int, dj: int, c: int = c, i: int = i, j: int = j) -> float:
            other = x[0, c, (i + di) % height, (j + dj) % width]
            return 10.0 * float(other - x[0, c, i, j])

        right, down = to(0, 1), to(1, 0)
        if kind is schema.TVKind.l1:
            expected += abs(right) + abs(down)
        elif kind is schema.TVKind.l2_nine:
            expected += 2 * (right**2 + down**2) / 3 + (to(1, 1) ** 2 + to(1, -1) ** 2) / 6
        else:
            expected += right**2 + down**2
    if reduction is schema.Reduction.mean:
        expected /= x.numel()
    settings = schema.TVLoss(kind=kind, reduction=reduction, pixel_range=10.0)
    assert float(total_variation(x, settings, wraps=True)) == pytest.approx(expected, rel=1e-12)
    torch.autograd.gradcheck(lambda y: total_variation(y, settings, wraps=True), x.requires_grad_())
