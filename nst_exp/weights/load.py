"""A backbone's weights, from wherever they are: file, cache, torchvision's folder, sources."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import safetensors.torch
from filelock import FileLock, Timeout
from torch import Tensor

from nst_exp.config.schema import Backbone, WeightSource
from nst_exp.utils.errors import OutputError, WeightsError
from nst_exp.utils.hashing import published, sha256_of
from nst_exp.utils.paths import cache_folder
from nst_exp.weights import cache
from nst_exp.weights.architecture import build_empty, trunk
from nst_exp.weights.fetch import Fetched, Report, describe, fetch, find_in_torch_home
from nst_exp.weights.presets import name_of
from nst_exp.weights.readers import read_weights


@dataclass(frozen=True)
class LoadedWeights:
    """A trunk's weights and where they came from."""

    state_dict: dict[str, Tensor]  # torchvision's names without the classifier; float32, CPU
    source: str  # for people: "wheel name==version", "file my.pth", "cache ... (from ...)"
    sha256: str  # of the file as it was published or given
    credit: str  # authors and license; empty for a user's own file
    warnings: list[str] = field(default_factory=list)  # for the run's record


class _FolderError(Exception):
    """A folder to fetch into cannot be used; another may do."""


def load_weights(backbone: Backbone, *, report: Report) -> LoadedWeights:
    """The pretrained trunk of ``backbone.name``.

    ``backbone.file`` alone if it is set; else the cache, torchvision's own download folder, and
    ``backbone.sources`` in order. What is fetched is put into the cache, once however many
    processes ask for it at the same time. ``report`` is given one line for everything that takes
    time or goes wrong on the way. Raises ``WeightsError`` where no weights can be had, or the file
    is not what it should be, and ``ConfigError`` for an architecture that torchvision lacks.
    """
    build_empty(backbone.name)  # refuses an unknown name before any work
    if backbone.file is not None:
        return _from_file(Path(os.path.expanduser(backbone.file)), backbone.name)
    if not backbone.sources:
        raise WeightsError(
            f"backbone.name={backbone.name}: no weights: backbone.sources is empty and "
            "backbone.file is not set"
        )
    warnings: list[str] = []

    def warn(message: str) -> None:
        if message not in warnings:  # looked at twice, before and under the lock
            warnings.append(message)
            report(f"warning: {message}")

    for source in backbone.sources:
        cached = _from_cache(backbone.name, source, warn)
        if cached is not None:
            return replace(cached, warnings=warnings)
    failures: list[str] = []

    def attempt(source: WeightSource, local: Fetched | None) -> LoadedWeights | None:
        try:
            return _obtain(backbone.name, source, local, warn, report)
        except WeightsError as error:
            failures.append(f"{describe(source)}: {error}")
            report(f"warning: {failures[-1]}")
            return None

    # Every file that is here already goes before the first download.
    for source in backbone.sources:
        local, complaint = find_in_torch_home(source)
        if complaint:
            warn(complaint)
        if local is not None and (loaded := attempt(source, local)):
            return replace(loaded, warnings=warnings)
    for source in backbone.sources:
        if loaded := attempt(source, None):
            return replace(loaded, warnings=warnings)
    raise WeightsError(_nothing_worked(backbone, failures))


def is_cached(backbone: Backbone) -> bool:
    """Whether weights are here, so that no download is needed (a cached file is not hashed)."""
    if backbone.file is not None:
        return os.path.isfile(os.path.expanduser(backbone.file))
    return any(
        cache.find(backbone.name, source.sha256) is not None
        or find_in_torch_home(source)[0] is not None
        for source in backbone.sources
    )


def _from_file(path: Path, name: str) -> LoadedWeights:
    try:
        state = read_weights(path, name)
        return LoadedWeights(state, f"file {path}", sha256_of(path), credit="")
    except WeightsError as error:
        raise WeightsError(f"backbone.file={error}") from error
    except OSError as error:
        raise WeightsError(f"backbone.file={path}: cannot be read: {error.strerror}") from error


def _from_cache(name: str, source: WeightSource, warn: Report) -> LoadedWeights | None:
    """The cached conversion of a source; a damaged one is said and passed over."""
    try:
        path = cache.find(name, published(source.sha256, "sha256"))
    except WeightsError:  # said when the source itself is tried
        return None
    if path is None:
        return None
    try:
        record, content = cache.read(path)
        _compare(record, name, source)
        state = safetensors.torch.load(content)
        if _shapes(state) != _shapes(trunk(name)):
            raise cache.DamagedError(f"it does not hold the tensors of {name}")
    except (cache.DamagedError, safetensors.SafetensorError) as error:
        warn(f"cached weights {path} are not used: {error}; they are fetched again")
        return None
    origin = f"cache {path} (from {record.source})"
    return LoadedWeights(state, origin, record.source_sha256, record.credit)


def _compare(record: cache.Record, name: str, source: WeightSource) -> None:
    """A file that was renamed or copied here is sound, but may be another network's."""
    if record.name != name or not record.source_sha256.startswith(source.sha256.lower()):
        raise cache.DamagedError(
            f"its record is of {record.name} from {record.source_sha256[:16]}..., not of {name} "
            f"from {source.sha256[:16]}..."
        )


def _shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}


def _obtain(
    name: str, source: WeightSource, local: Fetched | None, warn: Report, report: Report
) -> LoadedWeights:
    """Fetch (unless ``local`` is there), convert and cache; if need be in a temporary folder."""

    def make(folder: Path) -> LoadedWeights:
        try:
            fetched = local or fetch(source, folder, report)
        except OSError as error:
            raise _FolderError(_reason(error)) from error
        state = read_weights(fetched.path, name)
        return LoadedWeights(state, fetched.origin, fetched.sha256, source.credit)

    try:
        with _workshop(name, source, report) as folder:
            # Another process may have put it there while this one waited.
            cached = _from_cache(name, source, warn)
            if cached is not None:
                return cached
            made = make(folder)
            _keep(made, name, warn)
            return made
    except _FolderError as error:
        warn(
            f"the cache {cache_folder()} cannot be used ({error}); the weights are made "
            "in a temporary folder and not kept"
        )
    try:
        with tempfile.TemporaryDirectory(prefix="nst_exp-") as folder_name:
            return make(Path(folder_name))
    except (_FolderError, OSError) as error:
        raise WeightsError(f"no temporary folder can be used ({error})") from error


@contextmanager
def _workshop(name: str, source: WeightSource, report: Report) -> Iterator[Path]:
    """A folder in the cache to fetch into, which no other process uses at the time.

    A download that breaks off stays there, so that the next one goes on from it.
    """
    stem = cache.stem(name, published(source.sha256, "sha256"))
    folder = cache_folder() / "downloads" / stem
    lock = FileLock(folder.with_suffix(".lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report(f"waiting for another process that is fetching the weights of {name}")
            lock.acquire()
    except (OSError, NotImplementedError) as error:  # read-only, full, or no locks on it
        raise _FolderError(_reason(error)) from error
    try:
        try:
            folder.mkdir(exist_ok=True)
            _remove_all_but_partial(folder)
        except OSError as error:
            raise _FolderError(_reason(error)) from error
        try:
            yield folder
        finally:
            with suppress(OSError):
                _remove_all_but_partial(folder)
                folder.rmdir()  # if no download was broken off
    finally:
        lock.release()


def _remove_all_but_partial(folder: Path) -> None:
    """Clear away what a killed process or a failed source left, but for downloads to resume."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix != ".partial":
            path.unlink()


def _keep(made: LoadedWeights, name: str, warn: Report) -> None:
    """Put fetched weights into the cache; if that fails they are usable all the same."""
    try:
        cache.write(
            safetensors.torch.save(made.state_dict),
            name=name,
            source_sha256=made.sha256,
            source=made.source,
            credit=made.credit,
        )
    except (OSError, OutputError) as error:
        warn(f"the weights cannot be kept in {cache.weights_folder()} ({_reason(error)})")


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _nothing_worked(backbone: Backbone, failures: list[str]) -> str:
    preset = name_of(backbone) or "PRESET"
    other = "vgg16" if preset != "vgg16" else "squeezenet1_1"
    return "\n".join(
        [
            f"backbone.name={backbone.name}: its weights cannot be had:",
            *(f"  {failure}" for failure in failures),
            "What to do:",
            f"  fetch them on a machine with network: python scripts/fetch_weights.py {preset}",
            f"    (or python -m nst_exp.weights fetch {preset}), and copy its cache folder to",
            f"    {cache_folder()} here (NST_EXP_CACHE names another place);",
            "  or give a file: backbone.file=PATH (.pth .safetensors .h5 .onnx);",
            f"  or choose another backbone: backbone={other} comes from the package index.",
        ]
    )
