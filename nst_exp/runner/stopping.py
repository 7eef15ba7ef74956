"""What ends a run early: a signal, a numerical failure, too little memory, a full disk."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from torch import Tensor

from nst_exp.config.output import image_of
from nst_exp.results.record import Record
from nst_exp.runner.memory import is_out_of_memory, remedies
from nst_exp.runner.save_image import save_best_image
from nst_exp.utils.atomic_files import disk_refusal
from nst_exp.utils.errors import ConfigError, Interrupted, NstError, OutputError
from nst_exp.utils.signals import SignalReceived, StopRequest


@contextmanager
def early_end(
    record: Record, request: StopRequest, best_image: Callable[[], Tensor | None]
) -> Iterator[None]:
    """Save the best image and record the reason if the block ends with an exception.

    Nothing is written before the record has a fingerprint: the folder may be that of another run.

    Raises:
        Interrupted: If a signal has come, whatever else went wrong.
        ConfigError: If memory ran out.
        OutputError: If the disk refused to take more.
    """
    try:
        try:
            yield
        except Interrupted:  # after a step; everything is saved
            raise
        except Exception as error:
            reason = _foreseen(error, record)
            if record.fingerprint is not None and record.status != "done":
                if isinstance(reason, NstError):
                    reason = type(reason)(f"{reason}{save_best_image(best_image, record)}")
                record.error = f"{type(reason).__name__}: {reason}"
                with suppress(Exception):  # what went wrong first matters more
                    record.save("failed")
            if request.signal is not None:  # it waited for the end of a step
                message = f"{reason}; stopped by {signal.Signals(request.signal).name}"
                raise Interrupted(message, request.signal) from error
            if reason is error:
                raise
            raise reason from error
        except KeyboardInterrupt:  # of a caller that handles signals itself
            if record.fingerprint is not None and record.status != "done":
                record.save("interrupted")
            raise
    except SignalReceived as received:
        message = f"stopped by {received}"
        if record.status == "done":
            message += "; the run is done"
        elif record.fingerprint is not None:
            if record.folder is not None:
                message += f"; {same_command(record)} resumes it"
            message += save_best_image(best_image, record)
            with suppress(Exception):  # otherwise the record names a process that is gone
                record.save("interrupted")
        raise Interrupted(message, received.signal) from None


def same_command(record: Record) -> str:
    """Describe the command that resumes the run."""
    without = ", without overwrite=true," if record.config.overwrite else ""
    return f"the same command with out={image_of(record.config.out) or record.folder}{without}"


def _foreseen(error: Exception, record: Record) -> Exception:
    """Translate an error of Python or a library that has a foreseen reason."""
    if isinstance(error, NstError):
        return error
    config = record.config
    if is_out_of_memory(error):
        return ConfigError(f"size={config.size}: out of memory; {remedies(config)}")
    reason = None if record.folder is None else disk_refusal(error, record.folder)
    return OutputError(f"out={record.folder}: cannot be written: {reason}") if reason else error
