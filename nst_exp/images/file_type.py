"""What can be said of an input file before a decoder reads it."""

import os
from io import BufferedReader
from pathlib import Path

from nst_exp.utils.errors import ConfigError, reason_of
from nst_exp.utils.suggest import did_you_mean


class UnsupportedPixels(ValueError):
    """Samples without a defined meaning as colors, or which Pillow would misread."""


class RawFile(ValueError):
    """A camera's raw file, of which Pillow would read the small preview."""


def escape(value: object) -> str:
    """Return ``value`` as one printable line; control characters are escaped."""
    text = str(value)
    return text if text.isprintable() else repr(text)


def refusal(key: str, path: object, reason: str, advice: str) -> ConfigError:
    """Make the error, one line, for a file that cannot be used."""
    return ConfigError(f"{key}={escape(path)}: {reason}; {advice}")


def open_regular_file(path: str | Path, key: str) -> BufferedReader:
    """Open a regular file for reading.

    Raises:
        ConfigError: If there is no such file or it cannot be opened.
    """
    place = os.path.expanduser(path)
    if os.path.exists(place) and not os.path.isfile(place):  # opening a FIFO would wait forever
        raise refusal(key, path, "it is a folder or a device", "name an image file")
    try:
        return open(place, "rb")
    except FileNotFoundError as error:
        real = Path(os.path.realpath(place))  # where a broken link leads
        near = did_you_mean(real.name, file_names(real.parent)).removeprefix("; ")
        reason = f"no such file (looked at {escape(real)})"
        raise refusal(key, path, reason, near or "correct the path") from error
    except (OSError, ValueError) as error:  # ValueError: NUL in the path
        reason = f"it cannot be read ({reason_of(error)})"
        raise refusal(key, path, reason, "check the path and its permissions") from error


def file_names(folder: Path) -> list[str]:
    """List a folder; empty if it cannot be listed."""
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError):
        return []


def describe_unreadable(head: bytes) -> tuple[str, str]:
    """Describe a file that no decoder accepts by its first bytes: reason and advice."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not head:
        return "the file is empty (0 bytes)", "copy or export it again"
    if text.startswith((b"<!doctype html", b"<html")) or b"<head" in text:
        return "it is a web page (HTML), not an image", "download the image itself"
    if text.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the image", "fetch the image with: git lfs pull"
    if head[4:12] in (b"ftypheic", b"ftypheix"):
        return (
            "it is a HEIC image, damaged or without pillow-heif to read it",
            "pip install 'nst-exp[heif]', or convert it to PNG or JPEG",
        )
    return "it is damaged, or not an image in a format that can be read", "export it as PNG or JPEG"
