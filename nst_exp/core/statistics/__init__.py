"""Style statistics: one file per family, with one interface."""

from collections.abc import Callable

from nst_exp.config import schema
from nst_exp.core.statistics.gram import CrossGram, Gram
from nst_exp.core.statistics.interface import FeatureMap, Statistic, Summary
from nst_exp.core.statistics.moments import (
    Covariance,
    Mean,
    MomentsL1,
    PositionSums,
    StandardDeviation,
    Wasserstein2,
)
from nst_exp.core.statistics.neighbors import Neighbors
from nst_exp.core.statistics.relaxed_emd import Palette, RelaxedEMD
from nst_exp.core.statistics.self_similarity import SelfSimilarity
from nst_exp.core.statistics.sliced import Histogram, Sliced

__all__ = [
    "CrossGram",
    "FeatureMap",
    "PositionSums",
    "SelfSimilarity",
    "Statistic",
    "Summary",
    "build_statistic",
]


def build_statistic(settings: schema.StyleLoss, seed: int = 0) -> Statistic:
    """Build the statistic that the config names; its random choices follow from ``seed``."""
    draws = settings.samples, seed, settings.redraw
    patches = settings.patch, settings.stride, settings.metric, settings.frozen
    kinds: dict[schema.Statistic, Callable[[], Statistic]] = {
        schema.Statistic.gram: lambda: Gram(settings.shift),
        schema.Statistic.covariance: Covariance,
        schema.Statistic.mean: Mean,
        schema.Statistic.std: StandardDeviation,
        schema.Statistic.moments_l1: MomentsL1,
        schema.Statistic.wasserstein2: lambda: Wasserstein2(settings.root_iterations),
        schema.Statistic.sliced: lambda: Sliced(settings.directions, seed, settings.redraw),
        schema.Statistic.histogram: Histogram,
        schema.Statistic.neighbors: lambda: Neighbors(*patches),
        schema.Statistic.relaxed_emd: lambda: RelaxedEMD(*draws),
        schema.Statistic.palette: lambda: Palette(*draws),
    }
    return kinds[settings.statistic]()
