"""Signals: requests to stop while steps are made, and exceptions at any other time."""

import errno
import signal
import sys
from collections.abc import Iterator

import pytest

from nst_exp.utils.signals import (
    SignalReceived,
    reraise_interruption,
    stop_at_once,
    stop_requests,
)

ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Restore the handlers of the process that runs the tests."""
    before = {number: signal.getsignal(number) for number in ALL}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ALL)
def test_a_signal_is_raised_while_no_step_is_made(number: int) -> None:
    with pytest.raises(SignalReceived) as caught, stop_requests(True) as request:
        signal.raise_signal(number)
    assert caught.value.signal == request.signal == number


@pytest.mark.parametrize("number", ALL)
def test_the_first_waits_for_the_step_and_the_second_is_raised(
    number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with stop_requests(True) as request:
        signal.signal(number, lambda *_: None)  # as Lightning does before its first step
        request.step()
        signal.raise_signal(number)
        assert request.signal == number
        assert "stopping after this step" in capsys.readouterr().err
        with pytest.raises(SignalReceived):
            signal.raise_signal(signal.SIGINT)
        assert request.signal == number


def test_an_earlier_handler_receives_the_second_signal() -> None:
    """A worker of a sweep is told again and again, and must not end because of that."""
    seen: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    with stop_requests(True) as request:
        request.step()
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
    assert seen == [signal.SIGTERM] * 2


def test_ignored_signals_stay_ignored() -> None:
    """As nohup sets it for SIGHUP, and a shell's ``&`` for SIGINT."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_at_once(), stop_requests(True) as request:
        signal.raise_signal(signal.SIGHUP)
    assert request.signal is None


@pytest.mark.parametrize("enabled", [True, False])
def test_handlers_are_restored(enabled: bool) -> None:
    before = [signal.getsignal(number) for number in ALL]
    with stop_at_once(), stop_requests(enabled) as request:
        inside = [signal.getsignal(number) for number in ALL]
        request.step()
    assert inside[0] == request.handle  # SIGINT
    assert (inside[1] == request.handle) is enabled
    assert [signal.getsignal(number) for number in ALL] == before


def test_the_command_line_does_not_end_without_a_message() -> None:
    with pytest.raises(SignalReceived), stop_at_once():
        signal.raise_signal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stop_at_once():
        signal.raise_signal(signal.SIGINT)


def test_a_closed_terminal_does_not_cost_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(sys.stderr, "write", closed)
    with stop_requests(True) as request:
        request.step()
        signal.raise_signal(signal.SIGHUP)
        assert request.signal == signal.SIGHUP


@pytest.mark.parametrize("hidden", [SignalReceived(signal.SIGTERM), KeyboardInterrupt()])
def test_a_signal_that_a_library_hides_is_raised_again(hidden: BaseException) -> None:
    """Its own error comes from restoring state; without a signal nothing is raised."""

    def restore() -> None:
        try:
            try:
                raise hidden
            finally:
                raise AttributeError("state is half restored")
        except AttributeError:
            reraise_interruption()

    with pytest.raises(type(hidden)):
        restore()
    try:
        raise ValueError("of its own")
    except ValueError:
        reraise_interruption()
    reraise_interruption()
