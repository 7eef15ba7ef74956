"""Statistics that compare positions one by one, as loops over them that can be differentiated."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from nst_exp.core.statistics.relaxed_emd import DECORRELATION

Distance = Callable[[Tensor, Tensor], Tensor]


def number(value: Tensor) -> float:
    return float(value.detach())


def places(features: Tensor) -> list[Tensor]:
    """The vector of each position."""
    _, _, height, width = features.shape
    return [features[0, :, i, j] for i, j in itertools.product(range(height), range(width))]


def patches(features: Tensor, side: int, stride: int) -> list[Tensor]:
    _, _, height, width = features.shape
    rows, columns = (range(0, n - side + 1, stride) for n in (height, width))
    return [
        features[0, :, i : i + side, j : j + side].flatten()
        for i, j in itertools.product(rows, columns)
    ]


def cosine(x: Tensor, y: Tensor) -> Tensor:
    return 1 - (x * y).sum() / ((x * x).sum().sqrt() * (y * y).sum().sqrt())


def quantiles(values: list[Tensor], target: list[Tensor]) -> Tensor:
    """Mean squared difference to the quantiles of the target, between which it is linear."""
    ranked, sorted_target = (sorted(x, key=number) for x in (values, target))
    total = torch.zeros((), dtype=torch.float64)
    for rank, value in enumerate(ranked):
        at = (rank + 0.5) / len(ranked) * len(target) - 0.5
        at = min(max(at, 0.0), len(target) - 1.0)
        low = min(int(at), len(target) - 2)
        other = sorted_target[low] * (low + 1 - at) + sorted_target[low + 1] * (at - low)
        total = total + (value - other).square()
    return total / len(ranked)


def histogram(features: Tensor, style: Tensor) -> Tensor:
    lists = [([*x.flatten()], [*y.flatten()]) for x, y in zip(features[0], style[0], strict=True)]
    return torch.stack([quantiles(x, y) for x, y in lists]).sum()


def sliced(features: Tensor, style: Tensor, directions: Tensor) -> Tensor:
    lists = [
        ([(d * x).sum() for x in places(features)], [(d * y).sum() for y in places(style)])
        for d in directions
    ]
    return torch.stack([quantiles(x, y) for x, y in lists]).mean() * features.shape[1]


def correlation(features: Tensor, style: Tensor, side: int, stride: int) -> Tensor:
    ours, theirs = (patches(x, side, stride) for x in (features, style))
    found = [min(theirs, key=lambda y, x=x: number(cosine(x, y))) for x in ours]  # type: ignore[misc]
    return torch.stack([(x - y).square().sum() for x, y in zip(ours, found, strict=True)]).mean()


def neural(features: Tensor, style: Tensor, side: int, stride: int) -> Tensor:
    ours, theirs = (patches(x, side, stride) for x in (features, style))
    mean, other = sum(ours) / len(ours), sum(theirs) / len(theirs)
    least = [min((cosine(x - mean, y - other) for y in theirs), key=number) for x in ours]
    return torch.stack(least).mean()


def emd(features: Tensor, style: Tensor, of_pair: Distance = cosine) -> Tensor:
    ours, theirs = places(features), places(style)
    one = [min((of_pair(x, y) for y in theirs), key=number) for x in ours]
    other = [min((of_pair(x, y) for x in ours), key=number) for y in theirs]
    return max(torch.stack(one).mean(), torch.stack(other).mean(), key=number)


def palette(features: Tensor, style: Tensor) -> Tensor:
    matrix = torch.tensor(DECORRELATION, dtype=torch.float64)

    def of_pair(x: Tensor, y: Tensor) -> Tensor:
        x, y = matrix @ (x - 0.5), matrix @ (y - 0.5)
        return cosine(x, y) + ((x - y).square().sum() / 3).sqrt()

    return emd(features, style, of_pair)


def similarity(features: Tensor, content: Tensor) -> Tensor:
    matrices = []
    for x in (features, content):
        rows = [torch.stack([cosine(a, b) for b in places(x)]) for a in places(x)]
        matrix = torch.stack(rows)
        matrices.append(matrix / matrix.sum(dim=0))
    return (matrices[0] - matrices[1]).abs().sum() / len(places(features))
