"""The same run from Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from nst_exp.app.arguments import check_arguments
from nst_exp.app.complaints import complaint
from nst_exp.app.compose import register, to_config
from nst_exp.app.console import logged_lines
from nst_exp.config.schema import Config
from nst_exp.runner.run import Result, run
from nst_exp.runner.validate import validate
from nst_exp.utils.errors import ConfigError
from nst_exp.utils.paths import CONFIGS


def make_config(overrides: Sequence[str] = ()) -> Config:
    """The config of a command line with these overrides. Raises ConfigError."""
    register()
    check_arguments(overrides)
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
            return to_config(compose("config", list(overrides)))
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        raise ConfigError(complaint(error, list(overrides))) from error


def stylize(
    content: str | Path | None = None,
    style: str | Path | None = None,
    *,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    report: Callable[[str], None] = print,
) -> Result:
    """Render the picture ``content`` in the style of the picture ``style``.

    Both are files or names of packaged pictures. ``overrides`` are those of the command line:
    ``["size=512", "loss=paper_code", "beta=1e3"]``. Nothing is written unless ``out`` names a
    folder; then everything that the command line writes goes there. ``report`` is given one line
    for what a person should know; the progress bar is switched off by ``logging.progress=false``.

    Returns the image (PIL), its losses, the record and the paths. Raises ConfigError,
    WeightsError, NumericalError and OutputError (nst_exp.utils.errors).
    """
    config = make_config(overrides)
    config.content = config.content if content is None else str(content)
    config.style = config.style if style is None else str(style)
    folder = out if out is not None else config.out
    validate(config)
    with logged_lines(report):
        return run(config, None if folder is None else Path(folder).expanduser())
