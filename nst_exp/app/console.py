"""What the user sees: the handler of the logger ``nst_exp``, and errors."""

import logging
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from nst_exp.config.pyramid import total_steps
from nst_exp.config.schema import Config
from nst_exp.images.size import Size, content_size
from nst_exp.images.validate import UNKNOWN, own_sizes
from nst_exp.utils.errors import Interrupted, NstError
from nst_exp.utils.signals import reraise_interruption

log = logging.getLogger("nst_exp")


class ConsoleHandler(logging.Handler):
    """Prints messages at once, above progress bars: errors to stderr, all others to stdout."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message; a terminal or pipe that is gone does not stop the run."""
        prefix = f"{record.levelname.lower()}: " if record.levelno > logging.INFO else ""
        stream = sys.stderr if record.levelno >= logging.ERROR else sys.stdout
        with suppress(OSError, ValueError):
            tqdm.write(prefix + record.getMessage(), file=stream)
            stream.flush()


def install_console() -> None:
    """Print what this package logs, once per process."""
    log.setLevel(logging.INFO)
    if not any(isinstance(handler, ConsoleHandler) for handler in log.handlers):
        log.addHandler(ConsoleHandler())


def fail(error: NstError) -> int:
    """Log each problem of an error and return the exit code.

    An error that hides a signal is not logged: the signal is raised again.
    """
    if not isinstance(error, Interrupted):  # which says what was saved
        reraise_interruption()
    for problem in getattr(error, "problems", [str(error)]):
        log.error(problem)
    return error.exit_code


def log_start(config: Config, varied: Collection[str] = ()) -> None:
    """Log what a run is about to do, or each job of a sweep; torch is not needed for it.

    Args:
        config: Of the run, or of a job of the sweep.
        varied: Keys that vary in the sweep; their values are left out.
    """
    content, styles = own_sizes(config)
    images = [("content", config.content, content)]
    images += [("style", *style) for style in zip(config.style, styles, strict=True)]
    for key, value, size in images:
        if key not in varied:
            log.info(f"{key:<8} {value}" + (f", {_x(size)} pixels" if size != UNKNOWN else ""))
    known = content != UNKNOWN and "content" not in varied
    side = _x(content_size(config, content, config.size)) if known else config.size
    steps = total_steps(config)
    result = {
        "size": f"{side} pixels",
        "steps": f"{steps} steps" if steps != 1 else "1 step",
        "backbone": f"network {config.backbone.name}",
    }
    log.info("result   " + ", ".join(text for key, text in result.items() if key not in varied))


def _x(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def display_path(path: Path) -> Path:
    """Return ``path`` relative to the working directory if it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
