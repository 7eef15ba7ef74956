"""The keys of the schema with their types, and the nearest key to one that does not exist."""

import types
import typing
from dataclasses import is_dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any

from nst_exp.config.keys import walk
from nst_exp.config.presets import groups
from nst_exp.config.schema import LBFGS, Adam, Config, Optimizer, RMSprop

ONE_OR_MORE = ("style", "style_map")  # lists of texts, for which a single text may be given
OPTIMIZERS: dict[str, type[Optimizer]] = {"lbfgs": LBFGS, "adam": Adam, "rmsprop": RMSprop}
# Words of other programs by the key, or the override, that they mean here.
_WORDS = {
    "steps": "iterations iteration iters iter num_iterations num_iters n_iters n_iter max_iter "
    "max_iters max_iterations niter epochs epoch num_epochs n_epochs num_steps n_steps nsteps",
    "optimizer.lr": "lr learning_rate",
    "beta": "style_weight style_strength",
    "alpha": "content_weight",
    "loss.tv.weight": "tv_weight tv total_variation_weight",
    "size": "image_size img_size imsize im_size max_size max_dim width",
    "content": "content_image content_img content_path content_file input input_image image_path",
    "style": "style_image style_img style_path style_file style_images",
    "style_weights": "style_blend_weights",
    "resolution.style_scale": "style_scale",
    "loss.content.layers": "content_layers",
    "loss.style.layers": "style_layers",
    "out": "o output output_dir output_image output_path output_file output_folder outdir out_dir "
    "save save_path save_dir",
    "backbone": "model network net arch architecture",
    "backbone.pool": "pooling",
    "init.file": "init_image",
    "optimizer": "optim",
    "color=luminance": "original_colors preserve_colors preserve_color keep_colors",
    "logging.every": "print_iter log_every",
    "logging.image_every": "save_iter save_every",
    "trainer.accelerator": "device cuda",
    "trainer.device": "gpu gpu_id",
}
SYNONYMS = {word: key for key, words in _WORDS.items() for word in words.split()}


def field_types(node: Any) -> dict[str, Any]:
    """Return the types of a dataclass' fields, without ``| None``."""
    return {
        name: typing.get_args(hint)[0] if isinstance(hint, types.UnionType) else hint
        for name, hint in typing.get_type_hints(node).items()
    }


def type_of(key: str, optimizer: str = "") -> Any:
    """Return the type of a key's value without ``| None``; None for a key that does not exist.

    Args:
        key: Dotted key, such as "loss.tv.weight".
        optimizer: Kind of optimizer whose keys count; every kind if empty.
    """
    node: Any = Config
    for name in key.split("."):
        if node is Optimizer:
            kinds = [OPTIMIZERS[optimizer]] if optimizer else OPTIMIZERS.values()
            node = next((kind for kind in kinds if name in field_types(kind)), Optimizer)
        if typing.get_origin(node) is dict:
            node = typing.get_args(node)[1]
        elif node is not Any:
            node = field_types(node).get(name) if is_dataclass(node) else None
    return node


def kinds_of(key: str) -> list[str]:
    """Return the optimizers that have a key below ``optimizer``."""
    return [kind for kind in OPTIMIZERS if type_of(key, kind) is not None]


@lru_cache
def known_keys() -> list[str]:
    """Return every key of the schema, with dots, and the sections that hold them."""
    configs = [Config(optimizer=kind()) for kind in OPTIMIZERS.values()]
    parts = [key.split(".") for config in configs for key, _, _ in walk(config)]
    return list(dict.fromkeys(".".join(p[:n]) for p in parts for n in range(1, len(p) + 1)))


def unknown_key(key: str) -> str:
    """Word the problem of a key that is not in the config, with the nearest one that exists."""
    if kinds := kinds_of(key):
        return f"{key}: only with optimizer={' or '.join(kinds)}"
    if synonym := SYNONYMS.get(key.lower()):
        return f"{key}: no such key; did you mean '{synonym}'?"
    known = [*known_keys(), *groups()]
    section, _, name = key.rpartition(".")
    if section not in known and is_dataclass(node := type_of(section)):  # loss.more.NAME
        known = [f"{section}.{field}" for field in field_types(node)]

    def likeness(other: str) -> float:
        last = other.rpartition(".")[2]
        return SequenceMatcher(None, key, other).ratio() + SequenceMatcher(None, name, last).ratio()

    nearest = max(known, key=likeness)
    hint = "see python -m nst_exp --help"
    return f"{key}: no such key; " + (
        f"did you mean '{nearest}'?" if likeness(nearest) > 1 else hint
    )
