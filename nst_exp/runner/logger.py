"""What goes to TensorBoard at the start of a run: its settings."""

import math
from typing import Any

import yaml
from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import SummaryWriter

from nst_exp.config.schema import Config
from nst_exp.config.serialize import config_as_dict, flat
from nst_exp.results.record import KEYS_NOT_FINGERPRINTED
from nst_exp.runner.evaluate import metric_names

# Hyperparameters of every run; others are added if they differ from their default.
USUAL_KEYS = (
    *("content", "style", "alpha", "beta", "steps", "size", "seed"),
    *("backbone.name", "init.kind", "optimizer.kind", "optimizer.lr"),
)
BACKBONE_KEYS = tuple(  # follow from the backbone's name
    f"backbone.{key}" for key in ("sources", "input", "content_layers", "style_layers")
)
SAVED_LOSSES = ("total", "content", "style", "tv")  # of the saved image, one point each


def log_settings(writer: SummaryWriter, config: Config) -> None:
    """Log the config as text, the hyperparameters with their metrics, and a chart of losses."""
    text = yaml.safe_dump(config_as_dict(config), sort_keys=False, allow_unicode=True)
    writer.add_text("config", f"```yaml\n{text}\n```", 0)
    tags = [f"saved/{name}" for name in SAVED_LOSSES]  # the columns of HPARAMS
    if config.logging.metrics:
        tags += [f"metrics/{name}" for name in metric_names()]
    file_writer: Any = writer.file_writer
    for summary in hparams(hyperparameters(config), dict.fromkeys(tags, math.nan)):
        file_writer.add_summary(summary)
    chart = ["Multiline", ["loss/content", "loss/style"]]
    writer.add_custom_scalars({"losses": {"content and style": chart}})


def hyperparameters(config: Config) -> dict[str, Any]:
    """Return the usual keys and those that differ from their default: HPARAMS shows only a few."""
    usual = flat(config_as_dict(Config()))
    return {
        key: ", ".join(map(str, value)) if isinstance(value, list) else value
        for key, value in flat(config_as_dict(config)).items()
        if value is not None
        and key.split(".")[0] not in KEYS_NOT_FINGERPRINTED
        and key not in BACKBONE_KEYS
        and (key in USUAL_KEYS or key not in usual or value != usual[key])
    }
