"""``python -m nst_exp`` in forked processes, whose parent has paid for the imports once.

Each command has a process of its own, with its own signals, limits and exit code. POSIX only.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

# What a run imports. Nothing here computes a tensor: torch's threads do not survive a fork.
import nst_exp.app.main
import nst_exp.report
import nst_exp.runner.run  # noqa: F401
from nst_exp.__main__ import run as run_command_line


class Command:
    """A command that runs or has ended."""

    def __init__(self, process: BaseProcess, output: Path) -> None:
        self.process = process
        self.output = output  # stdout and stderr

    @property
    def code(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        return self.process.exitcode

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def send(self, number: int) -> None:
        """Send a signal if it still runs."""
        if self.process.is_alive() and self.process.pid:
            os.kill(self.process.pid, number)

    def wait(self, seconds: float = 120.0) -> Command:
        """Wait for the end; kill it if it does not come."""
        self.process.join(seconds)
        self.process.kill()
        self.process.join()
        return self

    def wait_for(self, folder: Path, pattern: str) -> None:
        """Wait until such a file exists or the command has ended."""
        while self.code is None and not list(folder.glob(pattern)):
            time.sleep(0.001)

    def wrong(self, code: int, *words: str) -> list[str]:
        """Return what is wrong with its end: exit code, one error message, words in the text."""
        text = self.text
        found = [f"no {word!r}" for word in words if word not in text]
        if self.code != code or "Traceback" in text:
            found.append(f"exit code {self.code}, not {code}, or a traceback")
        errors = sum(line.startswith("error: ") for line in text.splitlines())
        if code != 1 and errors != bool(code):  # a sweep may have several
            found.append(f"{errors} error messages")
        return [*found, f"printed: {text[-500:]!r}"] if found else []


def start(
    arguments: Sequence[str],
    output: Path,
    *,
    errors: Path | None = None,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    before: Callable[[], object] | None = None,
    context: BaseContext | None = None,
) -> Command:
    """Start the command line.

    Args:
        arguments: What follows ``python -m nst_exp``.
        output: File for what it prints.
        errors: File for stderr, if it is another.
        folder: Working directory.
        environment: Changes to the environment.
        before: Called in the new process before the command.
        context: Of the new process, which is forked from this one if it is not given.
    """
    files = (output, errors or output)
    for path in files:
        path.write_text("")
    changed = dict(os.environ) | dict(environment or {})
    process = (context or multiprocessing.get_context("fork")).Process(
        target=_work, args=(arguments, files, folder or ".", changed, before)
    )
    process.start()
    return Command(process, output)


def _work(
    arguments: Sequence[str],
    files: tuple[Path, Path],
    folder: Path | str,
    environment: dict[str, str],
    before: Callable[[], object] | None,
) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    warnings.simplefilter("ignore")
    tempfile.tempdir = None  # TMPDIR decides
    os.chdir(folder)
    for descriptor, path in zip((1, 2), files, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), descriptor)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
    if before is not None:
        before()
    sys.argv = ["nst_exp", *arguments]
    try:
        run_command_line()
    finally:  # a forked process ends without the functions that stop joblib's workers
        if loky := sys.modules.get("joblib.externals.loky"):
            loky.get_reusable_executor().shutdown(kill_workers=True)


def run(arguments: Sequence[str], output: Path, **how: Any) -> Command:
    """Start the command line and wait for its end; ``how`` as for ``start``."""
    return start(arguments, output, **how).wait()


def limit_files(size: int) -> None:
    """Let no file of this process exceed a size, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
