"""Showing that something goes on."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def every_second(call: Callable[[], object]) -> Iterator[None]:
    """Call a function once per second, from another thread, until the block ends."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(1.0):
            call()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def waiting(text: str, enabled: bool = True) -> Iterator[None]:
    """Show a text and the seconds that have passed on the terminal, if there is one."""
    disable = not (enabled and sys.stderr.isatty())
    with tqdm(desc=text, bar_format="{desc} {elapsed}", leave=False, disable=disable) as line:
        if disable:
            yield
        else:
            with every_second(line.refresh):
                yield
