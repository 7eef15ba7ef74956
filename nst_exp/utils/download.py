"""Download one file over HTTP with a size limit, timeouts and retries."""

import errno
import http.client
import shutil
import socket
import time
from pathlib import Path

import requests
from tqdm import tqdm

from nst_exp.utils.errors import NstError, causes_of, reason_of

PAUSE_S = 0.5  # before the first retry; doubled for each further one
_CHUNK = 1024  # bytes
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}  # HTTP codes that are worth a retry


class DownloadError(NstError):
    """A file could not be downloaded; the message is one line that says why."""


def download(
    url: str, target: Path, max_bytes: int, timeout_s: float, retries: int, user_agent: str
) -> None:
    """Download ``url`` to ``target``; a failure may leave an incomplete file.

    Only http and https are allowed, and no redirection from https to http. ``timeout_s`` limits the
    wait for the connection and for each kilobyte. A progress bar is shown if stderr is a terminal.

    Raises:
        DownloadError: If the file is not available, or larger than ``max_bytes``.
        OSError: If ``target`` cannot be written or does not fit on the disk.
    """
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


def require_space(folder: Path, size: int) -> None:
    """Raise OSError (ENOSPC) if the disk of ``folder`` has less than ``size`` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < size:
        reason = f"{size / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free"
        raise OSError(errno.ENOSPC, reason, str(folder))


def _transfer(url: str, target: Path, max_bytes: int, timeout_s: float, user_agent: str) -> None:
    headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}
    with requests.get(url, stream=True, timeout=timeout_s, headers=headers) as response:
        for hop in [*response.history, response]:
            if url.startswith("https:") and not hop.url.startswith("https:"):
                raise DownloadError(f"redirected to {_printable(hop.url)}, which is not allowed")
        response.raise_for_status()
        size = int(response.headers.get("Content-Length", 0))
        _check_size(size, max_bytes)
        require_space(target.parent, size)
        bar = tqdm(
            total=size or None,
            unit="B",
            unit_scale=True,
            desc=target.name,
            leave=False,
            disable=None,
        )
        with bar, target.open("wb") as file:
            deadline = time.monotonic() + timeout_s
            for chunk in response.iter_content(_CHUNK):
                if time.monotonic() > deadline:  # of a server that sends a few bytes now and then
                    raise TimeoutError
                _check_size(file.tell() + len(chunk), max_bytes)
                file.write(chunk)
                bar.update(len(chunk))
                deadline = time.monotonic() + timeout_s


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise DownloadError(f"the file is larger than {max_bytes / 1e6:g} MB")


def _explain(error: Exception, timeout_s: float) -> tuple[str, bool]:
    """Return the reason of a failure in a few words, and whether a retry may help."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        code = error.response.status_code
        return f"HTTP {code} {_printable(error.response.reason)}", code in _TRANSIENT
    if isinstance(error, ValueError | requests.TooManyRedirects):  # such as an invalid address
        return _printable(error), False
    # The exceptions of requests are OSErrors too, but say less than what caused them.
    causes = [
        cause for cause in causes_of(error) if not isinstance(cause, requests.RequestException)
    ]
    cause = next((c for c in causes if isinstance(c, OSError | http.client.HTTPException)), error)
    reason = _printable(reason_of(cause))
    if isinstance(cause, TimeoutError):
        return f"no answer for {timeout_s:g} s", True
    if isinstance(cause, socket.gaierror):
        return f"no network: {reason}", cause.errno == socket.EAI_AGAIN
    return f"the connection failed: {reason}", True


def _printable(text: object) -> str:
    """Return words of a server or a library as one line without control characters."""
    line = " ".join(str(text).split())[:200]
    return line if line.isprintable() else repr(line)
