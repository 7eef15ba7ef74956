"""Style statistics: one file per family, with one interface."""

from nst_exp.config import schema
from nst_exp.core.statistics.gram import Gram
from nst_exp.core.statistics.interface import FeatureMap, Statistic, Summary
from nst_exp.core.statistics.moments import Covariance, Mean, StandardDeviation, Wasserstein2

__all__ = ["FeatureMap", "Statistic", "Summary", "build_statistic"]

_STATISTICS: dict[schema.Statistic, type[Statistic]] = {
    schema.Statistic.gram: Gram,
    schema.Statistic.covariance: Covariance,
    schema.Statistic.mean: Mean,
    schema.Statistic.std: StandardDeviation,
}


def build_statistic(settings: schema.StyleLoss) -> Statistic:
    """Build the statistic of a style term."""
    if settings.statistic is schema.Statistic.wasserstein2:
        return Wasserstein2(settings.root_iterations)
    return _STATISTICS[settings.statistic]()
