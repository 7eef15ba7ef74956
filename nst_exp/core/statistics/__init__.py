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
    schema.Statistic.wasserstein2: Wasserstein2,
}


def build_statistic(kind: schema.Statistic, root_iterations: int | None = None) -> Statistic:
    """Build the statistic that the config names; ``root_iterations`` are those of Wasserstein2."""
    statistic = _STATISTICS[kind]()
    if isinstance(statistic, Wasserstein2):
        statistic.root_iterations = root_iterations
    return statistic
