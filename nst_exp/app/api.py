"""The same run from Python."""

from collections.abc import Sequence
from pathlib import Path

from nst_exp.app.compose import escape, make_config
from nst_exp.app.messages import quote
from nst_exp.runner.run import Result, run
from nst_exp.runner.validate import validate

__all__ = ["Result", "make_config", "stylize"]


def stylize(
    content: str | Path | None = None,
    style: str | Path | None = None,
    *,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
) -> Result:
    """Render the image ``content`` in the style of the image ``style``.

    Messages go to the logger "nst_exp"; ``logging.progress=false`` switches the progress bar off.

    Args:
        content: A file, or the name of a packaged image.
        style: A file, or the name of a packaged image.
        out: Folder for everything that the command line writes; nothing is written if None.
        overrides: As on the command line: ``["size=512", "loss=paper_code", "beta=1e3"]``.

    Returns:
        The image (PIL), its losses, the record and the paths.

    Raises:
        NstError: ConfigError, WeightsError, NumericalError or OutputError of
            ``nst_exp.utils.errors``.
    """
    inputs = {"content": content, "style": style}
    given = [f"{key}={quote(escape(str(v)))}" for key, v in inputs.items() if v is not None]
    every = [*overrides, *given]
    config = make_config(every)
    validate(config)
    folder = out if out is not None else config.out
    return run(config, None if folder is None else Path(folder).expanduser(), overrides=every)
