"""The same run from Python."""

import multiprocessing
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from nst_exp.app import compose
from nst_exp.app.keywords import Overrides, takes_settings, to_overrides
from nst_exp.config.output import folder_of
from nst_exp.config.schema import Config
from nst_exp.core.image_terms import LossFunction
from nst_exp.results.lock import LOCK
from nst_exp.runner.observer import Extras, StepCallback
from nst_exp.runner.result import Result
from nst_exp.runner.run import run
from nst_exp.runner.validate import validate
from nst_exp.utils.errors import ConfigError, Interrupted, NstError

__all__ = ["Result", "Stopped", "make_config", "stylize"]

GIVEN = ".inputs"  # the folder of images that were given in memory
_lock = threading.RLock()  # Hydra, and torch while it builds a network, have one state per process
_orphaned = threading.Event()  # the thread that holds the lock was not copied by a fork
_IMPORTED_BY = os.getpid()


class Stopped(KeyboardInterrupt):
    """Ctrl-C, or a notebook's stop button, ended a run or sweep.

    Attributes:
        result: The ``Result`` so far; None if there is no image yet, and of a sweep.
    """

    def __init__(self, message: str, result: Result | None = None) -> None:
        super().__init__(message)
        self.result = result


@takes_settings
def make_config(overrides: Overrides = (), **settings: Any) -> Config:
    """Compose the config of a command line with these overrides.

    Args:
        overrides: As in ``stylize``.
        settings: As in ``stylize``, but no images in memory.

    Raises:
        ConfigError: With every unknown key or preset and every value of a wrong type.
    """
    try:
        with alone():
            return compose.make_config(to_overrides(overrides, settings, Path()))
    except NstError as error:
        raise error.with_traceback(None) from None  # not through the inside of this package


@takes_settings
def stylize(
    content: Any = None,
    style: Any = None,
    *,
    out: str | Path | None = None,
    overrides: Overrides = (),
    callback: StepCallback | None = None,
    callback_every: int = 10,
    terms: Mapping[str, LossFunction] | None = None,
    **settings: Any,
) -> Result:
    """Render the image ``content`` in the style of the image ``style``.

    A call waits while another thread is in one. What the caller has set for the process stays as it
    is: Hydra, logging, signal handlers, torch's threads, types and devices, random generators.

    Messages go to the logger "nst_exp"; ``logging={"progress": False}`` switches the progress bar
    off.

    Args:
        content: A file, the name of a packaged image, a PIL image, a NumPy array (H, W, 3) of uint8
            or of floats in 0..1, or a torch tensor (3, H, W) or (1, 3, H, W).
        style: The same; a list for several styles.
        out: Folder for everything that the command line writes; nothing is written if None.
            A call with the same folder and settings resumes a run that was interrupted, and returns
            the result of one that is done.
        overrides: As on the command line: ``["size=512", "loss=paper_code"]``,
            ``"size=512 loss=paper_code"``, or ``{"size": 512, "loss.style.statistic": "mean"}``.
        callback: Called as ``callback(step, total, image, losses)`` with a PIL image and a dict;
            if it returns False, the run ends and the result so far is returned.
        callback_every: Steps between two calls; there is one after the last step as well.
        terms: Further loss terms by name, each a function of the image (1, 3, H, W) in 0..1 that
            returns a scalar, with its weight in it.
        settings: Top-level keys of the config: numbers, texts, names of presets
            (``loss="jcjohnson"``, ``experiment="paper_fig3"``), or dicts of the keys of a section
            (``init={"kind": "noise"}``). They come after ``overrides`` and win.

    Returns:
        The image (PIL), its losses, the record and the paths.

    Raises:
        NstError: ConfigError, WeightsError, NumericalError or OutputError of
            ``nst_exp.utils.errors``.
        Stopped: After Ctrl-C or a notebook's stop button, with the result so far.
    """
    named = {"content": content, "style": style}
    settings = {key: value for key, value in named.items() if value is not None} | settings
    extras = Extras(callback, callback_every, terms or {})
    try:
        return _stylize(out, overrides, settings, extras)
    except Interrupted as stop:
        if stop.signal == 0:  # the callback returned False
            return stop.result  # type: ignore[no-any-return]
        problem: BaseException = Stopped(_how_to_resume(stop, out), stop.result)
    except NstError as error:
        problem = error.with_traceback(None)
    raise problem from None  # not through the inside of this package


def _stylize(
    out: str | Path | None, overrides: Overrides, settings: Mapping[str, Any], extras: Extras
) -> Result:
    _check_extras(extras)
    with ExitStack() as stack:
        stack.enter_context(alone())
        given = stack.enter_context(folder_of_given(out))
        every = to_overrides(overrides, settings, given)
        every += [] if out is None else to_overrides((), {"out": out}, given)
        config = compose.make_config(every)
        validate(config)
        folder = None if config.out is None else folder_of(config.out)
        if folder is None and config.film is not None:
            raise ConfigError(f"film={config.film}: is written into the run's folder; give out=DIR")
        work = partial(run, config, folder, overrides=every, extras=extras)
        if os.getpid() == _IMPORTED_BY and multiprocessing.parent_process() is None:
            return work()
        # In a forked process torch waits forever for the threads that its parent had; a new thread
        # gets its own.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(work).result()


def _check_extras(extras: Extras) -> None:
    every = extras.callback_every
    if not isinstance(every, int) or every < 1:
        raise ConfigError(f"callback_every={every!r}: must be a whole number of at least 1")
    functions = {"callback": extras.callback} if extras.callback is not None else {}
    for name, function in {**functions, **extras.terms}.items():
        if not callable(function):
            raise ConfigError(f"{name}={function!r}: is not a function; give one")


def _how_to_resume(stop: Interrupted, out: str | Path | None) -> str:
    if stop.result is None:
        return str(stop)
    step = stop.result.record["step"]
    if stop.result.folder is None:
        return f"stopped after step {step}; .result of this exception has the image so far"
    return (
        f"stopped after step {step}; the image so far is {stop.result.path} and .result of this "
        "exception; the same call resumes"
    )


@contextmanager
def folder_of_given(out: str | Path | None) -> Iterator[Path]:
    """Choose the folder for images in memory: below ``out``, or one that is removed afterwards."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="nst_exp-") as folder:
            yield Path(folder)
        return
    place = folder_of(str(out))
    fresh = [path for path in (place / GIVEN, place, *place.parents) if not path.exists()]
    try:
        yield place / GIVEN
    except ConfigError:
        if place in fresh and {path.name for path in place.glob("*")} <= {GIVEN, LOCK}:
            for file in (place / LOCK, *place.glob(f"{GIVEN}/*")):
                file.unlink(missing_ok=True)
            for path in filter(Path.exists, fresh):  # a call that is refused leaves no folder
                path.rmdir()
        raise


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other thread is in a call."""
    if _orphaned.is_set():
        raise ConfigError(
            "this process was forked while another thread was in stylize(); fork before the first "
            "call, or start processes with the method 'spawn'"
        )
    with _lock:
        yield


def _after_fork() -> None:
    if _lock.acquire(blocking=False):
        _lock.release()
    else:
        _orphaned.set()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
