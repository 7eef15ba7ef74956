"""Pretrained weights: found, checked by hash, converted to torchvision's names, cached."""

from nst_exp.weights.load import LoadedWeights, load_weights

__all__ = ["LoadedWeights", "load_weights"]
