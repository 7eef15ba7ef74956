"""Download one file over HTTP with a size limit, timeouts and retries."""

from __future__ import annotations

import errno
import http.client
import shutil
import socket
import time
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urljoin

import pooch
import requests
from tqdm import tqdm

from nst_exp.utils.errors import NstError

PAUSE_S = 0.5  # before the first retry; doubled for each further one
_CHUNK = 1024  # bytes
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}  # HTTP codes that are worth a retry


class DownloadError(NstError):
    """A file could not be downloaded; the message is one line that says why."""


def download(
    url: str, target: Path, *, max_bytes: int, timeout_s: float, retries: int, user_agent: str
) -> None:
    """Download ``url`` to ``target``, which is removed if the download fails.

    Only http and https are allowed, and no redirection from https to http. ``timeout_s`` limits the
    wait for the connection and for each kilobyte. A progress bar is shown if stderr is a terminal.

    Raises:
        DownloadError: If the file is not available, or larger than ``max_bytes``.
        OSError: If ``target`` cannot be written or does not fit on the disk.
    """
    if not url.startswith(("http://", "https://")):
        raise DownloadError(f"url={url!r}: only http and https are supported")
    for attempt in range(retries + 1):
        try:
            _transfer(url, target, max_bytes, timeout_s, user_agent)
            return
        except (requests.RequestException, TimeoutError, ValueError) as error:
            reason, transient = _explain(error, timeout_s)
            if attempt == retries or not transient:
                tries = f" ({attempt + 1} tries)" if attempt else ""
                raise DownloadError(f"{reason}{tries}") from error
        time.sleep(PAUSE_S * 2**attempt)


def _transfer(url: str, target: Path, max_bytes: int, timeout_s: float, user_agent: str) -> None:
    try:
        with (
            target.open("wb") as file,
            # pooch sets the total, but a bar without one has no truth value, which it asks for.
            tqdm(
                total=1, unit="B", unit_scale=True, desc=target.name, leave=False, disable=None
            ) as bar,
        ):
            limited = _LimitedFile(file, target.parent, max_bytes, timeout_s)
            pooch.HTTPDownloader(
                progressbar=bar,
                chunk_size=_CHUNK,
                timeout=timeout_s,
                headers={"User-Agent": user_agent, "Accept-Encoding": "identity"},
                hooks={"response": limited.check_response},
            )(url, limited, None)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def require_space(folder: Path, size: int) -> None:
    """Raise OSError (ENOSPC) if the disk of ``folder`` has less than ``size`` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < size:
        reason = f"{size / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free"
        raise OSError(errno.ENOSPC, reason, str(folder))


class _LimitedFile:
    """A file for pooch that refuses too many bytes, and a chunk that comes too late."""

    def __init__(self, file: BinaryIO, folder: Path, max_bytes: int, timeout_s: float) -> None:
        self.file, self.folder, self.max_bytes = file, folder, max_bytes
        self.timeout_s, self.deadline, self.size = timeout_s, float("inf"), 0

    def check_response(self, response: requests.Response, **_: Any) -> None:
        """Refuse a redirection or a size before anything is read."""
        if response.is_redirect:  # to http or https; requests refuses others
            found = urljoin(response.url, response.headers["Location"])
            if response.url.startswith("https:") and not found.lower().startswith("https:"):
                raise DownloadError(f"redirected to {_printable(found)}, which is not allowed")
        elif response.ok and (length := response.headers.get("Content-Length", "")).isdecimal():
            size = int(length[:16])  # a server can send thousands of digits
            self.check_size(size)
            require_space(self.folder, size)

    def check_size(self, size: int) -> None:
        if size > self.max_bytes:
            raise DownloadError(f"the file is larger than {self.max_bytes / 1e6:g} MB")

    def write(self, data: bytes) -> None:
        if time.monotonic() > self.deadline:
            raise TimeoutError
        self.deadline = time.monotonic() + self.timeout_s
        self.size += len(data)
        self.check_size(self.size)
        self.file.write(data)

    def flush(self) -> None:
        """Do nothing; pooch calls it after each chunk."""


def _explain(error: Exception, timeout_s: float) -> tuple[str, bool]:
    """Return the reason of a failure in a few words, and whether a retry may help."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        code = error.response.status_code
        return f"HTTP {code} {_printable(error.response.reason)}", code in _TRANSIENT
    if isinstance(error, ValueError | requests.TooManyRedirects):  # such as an invalid address
        return _printable(error), False
    cause: BaseException | None = error
    while cause is not None and (
        isinstance(cause, requests.RequestException)
        or not isinstance(cause, OSError | http.client.HTTPException)
    ):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, TimeoutError):
        return f"no answer for {timeout_s:g} s", True
    reason = _printable(getattr(cause, "strerror", None) or cause or error)
    if isinstance(cause, socket.gaierror):
        return f"no network: {reason}", cause.errno == socket.EAI_AGAIN
    return f"the connection failed: {reason}", True


def _printable(text: object) -> str:
    """Return words of a server or a library as one line without control characters."""
    line = " ".join(str(text).split())[:200]
    return line if line.isprintable() else repr(line)
