"""``python -m nst_exp`` as forked children of a process that has paid for the imports once.

Each child is a process of its own, with its own signals, limits and exit code; only the seconds in
which torch is imported are saved. POSIX alone.
"""

from __future__ import annotations

import atexit
import os
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.tiny import TINY as TINY


def prepare() -> None:
    """Import, once, all that a run imports. No tensor is computed, since threads do not fork."""
    import nst_exp.app.main
    import nst_exp.report
    import nst_exp.runner.run  # noqa: F401


@dataclass
class Child:
    """A command that runs, or has ended."""

    pid: int
    output: Path  # stdout and stderr
    code: int | None = None  # of the exit, negative for a signal; None while it runs

    def text(self) -> str:
        """What it has written so far."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def poll(self) -> int | None:
        """The exit code, if it has ended."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def send(self, number: int) -> None:
        """A signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, seconds: float = 120.0) -> int | None:
        """The exit code; None, and the child is killed, if it hangs."""
        until = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                self.code = -signal.SIGKILL
                return None
            time.sleep(0.005)
        return self.code


def start(
    arguments: Sequence[str],
    output: Path,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    largest_file: int | None = None,
    before: Callable[[], None] | None = None,
) -> Child:
    """Start the command line with ``arguments``.

    It writes to ``output`` and runs in ``folder`` with ``environment`` added; no file may grow
    beyond ``largest_file`` bytes; ``before`` is called in the child.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Child(pid, output)
    code = 1
    try:
        _become(output, folder, environment)
        if before is not None:
            before()
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
        sys.argv = ["nst_exp", *arguments]
        code = _main()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def run(arguments: Sequence[str], output: Path, seconds: float = 120.0, **how: object) -> Child:
    """``start``, and wait for the end."""
    child = start(arguments, output, **how)  # type: ignore[arg-type]
    child.wait(seconds)
    return child


def _become(output: Path, folder: Path | None, environment: Mapping[str, str] | None) -> None:
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        finalizer.atexit = False  # the scratch folder is the parent's to remove
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.update(environment or {})
    tempfile.tempdir = None  # which TMPDIR decides, and this process may have asked already
    if folder is not None:
        os.chdir(folder)
    stream = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, source in ((0, nothing), (1, stream), (2, stream)):
        os.dup2(source, number)
    # Others may have been put in their place, as pytest does.
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _main() -> int:
    """The exit code that Python would end with, behind the same steps of its end."""
    from nst_exp.app.main import main

    code = 0
    try:
        main()
    except SystemExit as leave:
        code = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    except KeyboardInterrupt:
        traceback.print_exc()
        code = 130
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code
