"""Named pictures that may have to be downloaded, or replaced by their stand-ins."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from nst_exp.images import load_image
from nst_exp.images.catalog import Picture, known_picture
from nst_exp.images.lookup import (
    FOLDER_VARIABLE,
    find_image,
    find_stand_in,
    images_folder,
    picture_cache,
)
from nst_exp.utils.atomic_files import write_atomically, write_text_atomically
from nst_exp.utils.errors import ConfigError, NstError, WeightsError

TIMEOUT_S = 10.0
MOST_BYTES = 60_000_000

Say = Callable[[str], None]

_failed: dict[str, str] = {}  # address -> why; one try per process, as a sweep asks for each job


class _NotHereError(Exception):
    """A picture cannot be downloaded."""


@dataclass(frozen=True)
class Resolved:
    """The file that a run uses for a picture of its config."""

    path: Path
    credit: str = ""  # title, author and license, if they are known
    substituted: dict[str, str] = field(default_factory=dict)  # for the record; {} = as asked


def resolve_image(
    value: str,
    key: str,
    images: str | None = None,
    stand_ins: bool = True,
    *,
    warn: Say,
    report: Say,
) -> Resolved:
    """The file that the config's ``key`` means: ``find_image``'s, else downloaded, else a stand-in.

    ``report`` is given the credit of a download; ``warn`` is given a stand-in, a download that is
    not the file which the table's MD5 was taken from, and one that was damaged in the cache. A
    value that is neither here nor in the table comes back as a path, which cannot be loaded. Raises
    ConfigError for a picture of the table that cannot be had if ``stand_ins`` is false.
    """
    found, picture = find_image(value, images), known_picture(value)
    if found is not None and found.downloaded and _has_changed(found.path):
        warn(
            f"{key}={value}: {found.path} is not what was downloaded; it is damaged, and fetched "
            "again"
        )
        found = None
    if found is not None:
        if picture is not None and found.downloaded:
            _compare(picture, found.path, key, warn)
        return Resolved(found.path, found.credit)
    if picture is None:
        return Resolved(Path(os.path.expanduser(value)))
    try:
        path = _download(picture, key, report)
    except _NotHereError as error:
        because = f"{_not_local(images)}, and {error}"
    else:
        _compare(picture, path, key, warn)
        return Resolved(path, picture.credit)
    advice = (
        f"put the file as {picture.name}.jpg into the folder of images=DIR or {FOLDER_VARIABLE}"
    )
    stand_in = find_stand_in(picture, images)
    if not stand_ins or stand_in is None:
        stems = " or ".join([picture.name, *picture.stems])
        allow = "" if stand_ins else ", or allow another picture with stand_ins=true"
        raise ConfigError(
            f"{key}={value}: {because}; {advice}{allow}\n"
            f"    tried: the file {os.path.abspath(value)}; {stems} in the folder of pictures; the "
            f"packaged pictures; {picture_cache()}; {picture.url or 'no address'}"
        )
    by, instead = stand_in
    warn(
        f"{key}={value}: {because}, so {by} stands in; {advice}; stand_ins=false makes this an "
        "error"
    )
    return Resolved(instead.path, instead.credit, {key: picture.name, "by": by, "because": because})


def _not_local(images: str | None) -> str:
    folder = images_folder(images)
    if folder is None:
        return "no folder of pictures is given"
    return f"the folder {folder} does not hold it"


def _download(picture: Picture, key: str, report: Say) -> Path:
    """Fetch the picture into the cache, whole and readable or not at all."""
    if picture.url is None:
        raise _NotHereError("no address is kept to download it from")
    host = urlsplit(picture.url).hostname or picture.url
    if picture.url in _failed:
        raise _NotHereError(f"its download from {host} failed ({_failed[picture.url]})")
    report(f"{key}={picture.name}: downloading it from {picture.url}")
    try:
        path = _fetch(picture.name, picture.url)
    except (NstError, OSError) as error:
        _failed[picture.url] = _reason(error)
        raise _NotHereError(f"its download from {host} failed ({_reason(error)})") from error
    report(f"{key}={picture.name}: {picture.credit}; kept as {path}")
    return path


def _fetch(name: str, url: str) -> Path:
    from nst_exp.utils.download import download

    path = picture_cache() / f"{name}{Path(urlsplit(url).path).suffix.lower()}"
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not in the cache: what a killed process leaves behind must not be taken for a picture.
    with tempfile.TemporaryDirectory(prefix="nst_exp-") as folder:
        partial = Path(folder) / path.name
        download(
            url,
            partial,
            max_bytes=MOST_BYTES,
            timeout_s=TIMEOUT_S,
            retries=0,
            user_agent=_agent(),
        )
        try:
            load_image(partial, key=name)  # decodes all of it
        except ConfigError as error:
            reason = str(error).removeprefix(f"{name}={partial}: ").partition("; ")[0]
            raise WeightsError(f"what came is no picture: {reason}") from error
        with partial.open("rb") as whole:
            write_atomically(path, lambda stream: shutil.copyfileobj(whole, stream))
            whole.seek(0)
            digest = hashlib.file_digest(whole, "sha256").hexdigest()
        with suppress(OSError, NstError):  # without it the picture is only not checked
            write_text_atomically(_note(path), f"{digest}\n")
    return path


def _note(path: Path) -> Path:
    """Where the SHA-256 of a downloaded picture is kept."""
    return path.with_name(f"{path.name}.sha256")


def _has_changed(path: Path) -> bool:
    """Whether a picture in the cache is another file than was put there."""
    try:
        noted = _note(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return False  # of an older version, or a read-only cache that somebody has filled
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() != noted
    except OSError:  # loading it says so
        return False


def _agent() -> str:
    """Who is asking; Wikimedia refuses clients that do not say."""
    try:
        version = importlib.metadata.version("nst-exp")
    except importlib.metadata.PackageNotFoundError:  # run from a folder of sources
        version = "unknown"
    return f"nst-exp/{version} (neural style transfer; fetches a paper's example pictures once)"


def _compare(picture: Picture, path: Path, key: str, warn: Say) -> None:
    if picture.md5 is None:
        return
    try:
        # It identifies a file; systems that ban MD5 for security allow this.
        found = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    except OSError:  # loading it says so
        return
    if found != picture.md5:
        warn(
            f"{key}={picture.name}: the downloaded file's MD5 is {found}, not {picture.md5}: it "
            "has been replaced at its address, and may differ from the picture that is meant"
        )


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
