"""Download one file by HTTP: time-outs, tries, resuming, bounds, a check of the hash."""

from __future__ import annotations

import errno
import http.client
import shutil
import socket
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tqdm import tqdm

from nst_exp.utils.errors import WeightsError
from nst_exp.utils.hashing import check

TIMEOUT_S = 30.0  # without a byte
TRIES = 3
PAUSE_S = 0.5  # before the second try; doubled for each further one
MOST_BYTES = 5_000_000_000  # of a file whose size nobody has announced
_SLOWEST = 1000  # bytes within the time-out; less is a server that keeps us waiting
_CHUNK = 1 << 20
_PASSING = {408, 425, 429, 500, 502, 503, 504}  # HTTP answers that may be better next time


class _TransferError(Exception):
    """The transfer broke off; ``final`` if another try would be in vain."""

    def __init__(self, reason: str, final: bool = False) -> None:
        self.final = final
        super().__init__(reason)


@dataclass(frozen=True)
class Terms:
    """How patient a download is, what it accepts, and who is asking."""

    tries: int
    timeout_s: float  # without a byte
    most_bytes: int | None = None  # a larger file is refused; None = any size
    agent: str = "nst-exp"


def download(
    url: str, target: Path, sha256: str, megabytes: int = 0, terms: Terms | None = None
) -> str:
    """Download ``url`` to ``target`` and return its SHA-256.

    What an earlier call left in ``target`` is continued if the server can do so. ``sha256`` is the
    published hash or a prefix of it; "" accepts any content. Without ``terms``, those of this
    module's constants hold. Raises ``WeightsError`` where the file cannot be had or is
    not the one asked for (then nothing is left in ``target``), ``OSError`` where ``target`` cannot
    be written (ENOSPC before the transfer, if the space would not do). ``megabytes`` is the size
    that is announced; a file far larger is refused before it fills the disk.
    """
    if not url.startswith(("http://", "https://")):
        raise WeightsError(f"url={url!r}: only http and https can be fetched")
    terms = terms or Terms(TRIES, TIMEOUT_S, most_bytes(megabytes))
    failure = ""
    for attempt in range(terms.tries):
        if attempt:
            time.sleep(PAUSE_S * 2 ** (attempt - 1))
        present = target.stat().st_size if target.exists() else 0
        try:
            _transfer(url, target, present, megabytes, terms)
        except _TransferError as error:
            if error.final:
                raise WeightsError(str(error)) from error
            failure = f"{error} ({attempt + 1} tries)" if attempt else str(error)
            continue
        try:
            return check(target, sha256)
        except WeightsError as error:
            target.unlink()
            if not present:  # served whole and wrong: it would come the same again
                raise
            failure = str(error)
    raise WeightsError(failure)


def most_bytes(megabytes: int) -> int:
    """The largest file that is accepted where ``megabytes`` are announced; 0 = not known."""
    return 2_000_000 * megabytes + 10_000_000 if megabytes else MOST_BYTES


def require_space(folder: Path, size: int) -> None:
    """Raise ``OSError`` (ENOSPC) if ``folder``'s file system has less than ``size`` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OSError(
            errno.ENOSPC,
            f"{size / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free",
            str(folder),
        )


def _transfer(url: str, target: Path, present: int, megabytes: int, terms: Terms) -> None:
    headers = {"User-Agent": terms.agent, "Accept-Encoding": "identity"}
    if present:
        headers["Range"] = f"bytes={present}-"
    try:
        answer = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=terms.timeout_s
        )
    except urllib.error.HTTPError as error:
        with error:
            if present and error.code == 416:  # nothing lies behind what is there: complete
                return
            raise _TransferError(
                f"HTTP {error.code} {_printable(error.reason)}", final=error.code not in _PASSING
            ) from error
    except (OSError, http.client.HTTPException) as error:
        raise _broken(error, terms) from error
    except ValueError as error:  # no host, a bracket too many, letters that no address has
        raise _TransferError(f"the address is not valid ({error})", final=True) from error
    with answer:
        _refuse_other_kinds(url, answer.geturl())
        resumed = answer.status == 206 and _starts_at(answer, present)
        if answer.status == 206 and not resumed:
            target.unlink(missing_ok=True)
            raise _TransferError("the server sent another part of the file than asked for")
        start = present if resumed else 0
        length = answer.headers.get("Content-Length", "")
        # The digits are the server's: a number of a thousand of them is none.
        total = start + int(length) if length.isdecimal() and len(length) < 16 else None
        _limit(total or start, terms)
        require_space(target.parent, (total or megabytes * 1_000_000) - start)
        with (
            target.open("ab" if resumed else "wb") as file,
            tqdm(
                total=total,
                initial=start,
                unit="B",
                unit_scale=True,
                desc=target.stem,
                leave=False,
                disable=None,  # silent where stderr is not a terminal
            ) as bar,
        ):
            done = watched = start
            until = time.monotonic() + terms.timeout_s
            while chunk := _read(answer, terms):
                file.write(chunk)
                bar.update(len(chunk))
                done += len(chunk)
                _limit(done, terms)
                if time.monotonic() > until and done != total:
                    if done - watched < _SLOWEST:
                        raise _TransferError(
                            f"no more than {done - watched} bytes in {terms.timeout_s:g} s"
                        )
                    watched, until = done, time.monotonic() + terms.timeout_s
    if total is not None and done < total:
        raise _TransferError(f"the transfer broke off after {done} of {total} bytes")


def _refuse_other_kinds(asked: str, found: str) -> None:
    """A redirection may not leave the web, nor encryption."""
    kind, wanted = urlsplit(found).scheme, urlsplit(asked).scheme
    if kind not in ("http", "https") or (wanted, kind) == ("https", "http"):
        raise _TransferError(f"it leads to {_printable(found)}, which is not followed", final=True)


def _printable(text: object) -> str:
    """What a server says, on one line and without commands to the terminal."""
    line = " ".join(str(text).split())[:200]
    return line if line.isprintable() else repr(line)


def _limit(size: int, terms: Terms) -> None:
    if terms.most_bytes is not None and size > terms.most_bytes:
        raise _TransferError(f"it is larger than {terms.most_bytes / 1e6:g} MB", final=True)


def _read(answer: http.client.HTTPResponse, terms: Terms) -> bytes:
    # read1 hands over what has come so far, so that a stall does not lose it.
    try:
        return answer.read1(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _broken(error, terms) from error


def _starts_at(answer: http.client.HTTPResponse, position: int) -> bool:
    return (answer.headers.get("Content-Range") or "").startswith(f"bytes {position}-")


def _broken(error: Exception, terms: Terms) -> _TransferError:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return _TransferError(f"no answer for {terms.timeout_s:g} s")
    if isinstance(cause, socket.gaierror):
        # Not a passing trouble: most often there is no network at all.
        return _TransferError(
            f"no network: {cause.strerror}", final=cause.errno != socket.EAI_AGAIN
        )
    reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return _TransferError(f"the connection failed: {_printable(reason)}")
