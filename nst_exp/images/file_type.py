"""What a file is, before a decoder sees it, and how to say what is wrong with it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedReader
from itertools import islice
from pathlib import Path

from nst_exp.utils.errors import ConfigError
from nst_exp.utils.suggest import did_you_mean

_HEAD = 512
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_CONTAINER_BRANDS = {b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}
_PICTURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"BM": "BMP",
    b"DDS ": "DDS",
    b"\0\0\1\0": "ICO",
    b"qoif": "QOI",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
}
_STRANGERS = {
    b"version https://git-lfs": (
        "it is a Git LFS pointer, not the picture itself",
        "fetch the picture with: git lfs pull",
    ),
    b"%PDF": ("it is a PDF document", "export the page as PNG"),
    b"%!PS": ("it is a PostScript file", "export it as PNG"),
    b"\xc5\xd0\xd3\xc6": ("it is a PostScript file", "export it as PNG"),
    b"8BPS": ("it is a Photoshop file", "export it as PNG"),
    b"PK\x03\x04": ("it is a ZIP archive", "unpack it and name a picture in it"),
    b"\x1f\x8b": ("it is a gzip archive", "unpack it and name a picture in it"),
    b"\x1aE\xdf\xa3": ("it is a video", "export one frame as PNG"),
}


def shown(value: object) -> str:
    """``value`` on one line, control characters and bytes that are no text escaped."""
    text = str(value)
    return text if text.isprintable() else repr(text)


def refusal(key: str, path: object, reason: str, advice: str) -> ConfigError:
    """The one line that says why the file in ``key`` cannot be used and what to do."""
    return ConfigError(f"{key}={shown(path)}: {reason}; {advice}")


@contextmanager
def opened(path: str | Path, key: str) -> Iterator[BufferedReader]:
    """The regular, non-empty file ``path``, open for reading. Raises ConfigError otherwise."""
    with ExitStack() as stack:
        try:
            place = Path(path).expanduser()
            _check(os.stat(place), path, key)  # before open, which would wait for ever on a FIFO
            stream = stack.enter_context(open(place, "rb"))
        except (OSError, ValueError, RuntimeError) as error:
            raise _not_found(path, key, error) from error
        yield stream


def _check(status: os.stat_result, path: str | Path, key: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise refusal(key, path, "it is a directory", "name one picture in it")
    if not stat.S_ISREG(status.st_mode):
        raise refusal(key, path, "it is not a regular file", "name a picture file")
    if status.st_size == 0:
        raise refusal(key, path, "the file is empty (0 bytes)", "copy or export it again")


def _not_found(path: str | Path, key: str, error: Exception) -> ConfigError:
    if not isinstance(error, OSError):  # a NUL character, or ~ of a user that does not exist
        return refusal(key, path, f"it is not a valid path ({shown(error)})", "correct it")
    place = Path(path).expanduser()
    if isinstance(error, FileNotFoundError):
        absolute = Path(os.path.abspath(place))
        if place.is_symlink():
            to = shown(os.readlink(place))
            return refusal(key, path, f"it is a link to {to}, which does not exist", "correct it")
        if not absolute.parent.is_dir():
            reason = f"there is no folder {shown(absolute.parent)}"
            return refusal(key, path, reason, "correct the path")
        suggestion = did_you_mean(absolute.name, _names_in(absolute.parent))
        advice = suggestion.removeprefix("; ") or "correct the path"
        return refusal(key, path, f"no such file (looked at {shown(absolute)})", advice)
    if isinstance(error, PermissionError):
        return refusal(
            key, path, "it may not be read (permission denied)", "change its permissions"
        )
    if isinstance(error, NotADirectoryError):
        return refusal(key, path, "a part of the path is a file, not a folder", "correct the path")
    if error.errno == errno.ELOOP:
        return refusal(key, path, "it is a link that leads back to itself", "correct the link")
    return refusal(
        key, path, f"it cannot be read ({error.strerror})", "check the path and the disk"
    )


def _names_in(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in islice(entries, 5000)]
    except OSError:
        return []


def read_head(stream: BufferedReader) -> bytes:
    """The first bytes, enough for ``is_heif`` and ``what_is``; rewinds the stream."""
    stream.seek(0)
    head = stream.read(_HEAD)
    stream.seek(0)
    return head


def is_heif(head: bytes) -> bool:
    """Whether an ISO media file holds a HEIC picture, which AVIF's container may look like."""
    brands = _brands(head)
    return bool(brands & _HEIF_BRANDS or brands & _CONTAINER_BRANDS) and not brands & _AVIF_BRANDS


def _brands(head: bytes) -> set[bytes]:
    if head[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12]} | {head[at : at + 4] for at in range(16, end - 3, 4)}


def what_is(head: bytes) -> tuple[str, str]:
    """Why a file that begins with ``head`` is no picture that can be read, and what to do."""
    for magic, answer in _STRANGERS.items():
        if head.startswith(magic):
            return answer
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")) or b"<head" in text:
        return "it is a web page (HTML), not a picture", "download the picture itself"
    if b"<svg" in text:
        return "it is an SVG drawing", "export it as PNG"
    brands = _brands(head)
    riff = head[8:12] if head[:4] == b"RIFF" else b""
    if riff == b"AVI " or (brands and not brands & (_AVIF_BRANDS | _CONTAINER_BRANDS)):
        return "it is a video", "export one frame as PNG"
    kinds = [kind for magic, kind in _PICTURES.items() if head.startswith(magic)]
    kinds += ["WebP"] * (riff == b"WEBP") + ["AVIF"] * bool(brands)
    if "TIFF" in kinds:  # of which there are more kinds than any program reads
        return (
            "it is a TIFF file that is damaged, or stored in a way that cannot be read",
            "copy it again, or export it as PNG",
        )
    if kinds:
        return f"it is a damaged {kinds[0]} file", "copy or export it again"
    if not head.strip(b"\0"):
        return "it holds nothing but zero bytes", "copy or download it again"
    if _is_text(head):
        return "it is a text file, not a picture", "name a picture file"
    return "it is not a picture in a format that can be read", "export it as PNG or JPEG"


def _is_text(head: bytes) -> bool:
    try:
        text = head[: _HEAD - 4].decode("utf-8")
    except UnicodeDecodeError as error:  # the cut may go through the last character
        if error.start < min(len(head), _HEAD - 4) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return bool(text) and all(letter.isprintable() or letter in "\t\n\r\f" for letter in text)
