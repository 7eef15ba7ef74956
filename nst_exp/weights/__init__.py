"""A backbone's weights: found, checked by hash, brought into torchvision's names, cached."""

from __future__ import annotations

from nst_exp.weights.load import LoadedWeights, is_cached, load_weights
from nst_exp.weights.readers import read_weights

__all__ = ["LoadedWeights", "is_cached", "load_weights", "read_weights"]
