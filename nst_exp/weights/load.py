"""Load the weights of a backbone from a file, the cache, torchvision's folder or a source."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from torch import Tensor

from nst_exp.config.schema import Backbone, WeightSource
from nst_exp.utils.download import DownloadError
from nst_exp.utils.errors import OutputError, WeightsError, reason_of
from nst_exp.utils.hashing import sha256_of
from nst_exp.utils.paths import cache_folder
from nst_exp.weights import cache
from nst_exp.weights.architecture import build_empty
from nst_exp.weights.fetch import check_source, describe, fetch
from nst_exp.weights.readers import read_weights

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedWeights:
    """The weights of a trunk and where they come from."""

    state_dict: dict[str, Tensor]  # torchvision's names without the classifier; float32, CPU
    source: str  # for the user: "wheel name==version", "file my.pth", "cache ... (from ...)"
    sha256: str  # of the file as it was published or given
    credit: str  # authors and license; empty for a user's own file


def load_weights(backbone: Backbone) -> LoadedWeights:
    """Load the pretrained weights of ``backbone.name``, without the classifier.

    ``backbone.file`` alone if it is set; else the cache, and then ``backbone.sources`` in order.
    What is fetched is put into the cache, once even if several processes need it at the same time.

    Raises:
        WeightsError: If no weights are available, or the file is not what it should be.
        ConfigError: If torchvision has no architecture of that name.
    """
    name = backbone.name
    build_empty(name)  # refuses an unknown name before any work
    if backbone.file is not None:
        return _from_file(Path(os.path.expanduser(backbone.file)), name)
    sources = [check_source(source) for source in backbone.sources]
    for source in sources:
        if cached := _from_cache(name, source):
            return cached
    failures: list[str] = []
    for source in sources:
        try:
            return _fetch_and_cache(name, source)
        except (WeightsError, DownloadError) as error:
            failures.append(f"{describe(source)}: {error}")
            log.warning(failures[-1])
    raise WeightsError(_describe_failures(name, failures or ["backbone.sources is empty"]))


def _from_file(path: Path, name: str) -> LoadedWeights:
    try:
        state = read_weights(path, name)
    except WeightsError as error:
        raise WeightsError(f"backbone.file={error}") from error
    return LoadedWeights(state, f"file {path}", sha256_of(path), credit="")


def _from_cache(
    name: str, source: WeightSource, level: int = logging.WARNING
) -> LoadedWeights | None:
    """Return the cached weights of a source; damaged ones are logged at ``level``."""
    path = cache.find(name, source.sha256)
    if path is None:
        return None
    try:
        record, state = cache.read(path)
        if record.name != name or not record.source_sha256.startswith(source.sha256):  # renamed
            raise cache.DamagedError(f"it holds {record.name} from {record.source_sha256[:16]}...")
    except cache.DamagedError as error:
        log.log(level, f"cached weights {path} are not used: {error}; they are fetched again")
        return None
    origin = f"cache {path} (from {record.source})"
    return LoadedWeights(state, origin, record.source_sha256, record.credit)


def _fetch_and_cache(name: str, source: WeightSource) -> LoadedWeights:
    """Fetch, convert and cache the weights of a source; if necessary in a temporary folder."""
    try:
        with _download_folder(name, source) as folder:
            # Another process may have cached it while this one waited for the lock.
            if cached := _from_cache(name, source, logging.DEBUG):
                return cached
            loaded = _fetch_and_read(name, source, folder)
            _write_cache(name, loaded)
            return loaded
    except (OSError, NotImplementedError) as error:  # read-only, full, or without locks
        log.warning(
            f"the cache {cache_folder()} cannot be used ({reason_of(error)}); the weights are "
            "converted in a temporary folder and not kept"
        )
    try:
        with tempfile.TemporaryDirectory(prefix="nst_exp-") as folder_name:
            return _fetch_and_read(name, source, Path(folder_name))
    except OSError as error:
        raise WeightsError(f"no temporary folder can be used ({reason_of(error)})") from error


def _fetch_and_read(name: str, source: WeightSource, folder: Path) -> LoadedWeights:
    fetched = fetch(source, folder)
    state = read_weights(fetched.path, name)
    return LoadedWeights(state, fetched.origin, fetched.sha256, source.credit)


@contextmanager
def _download_folder(name: str, source: WeightSource) -> Iterator[Path]:
    """Yield an empty folder in the cache that no other process uses at the same time."""
    folder = cache_folder() / "downloads" / cache.stem(name, source.sha256)
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info(f"waiting for another process that is fetching the weights of {name}")
        lock.acquire()
    try:
        shutil.rmtree(folder, ignore_errors=True)  # what a killed process left
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _write_cache(name: str, loaded: LoadedWeights) -> None:
    """Put converted weights into the cache; a failure is only a warning."""
    try:
        record = cache.Record(name, loaded.sha256, loaded.source, loaded.credit)
        cache.write(record, loaded.state_dict)
    except (OSError, OutputError) as error:
        log.warning(f"the weights are not kept in {cache.weights_folder()} ({reason_of(error)})")


def _describe_failures(name: str, failures: list[str]) -> str:
    other = "vgg16" if name != "vgg16" else "squeezenet1_1"
    return "\n".join(
        [
            f"backbone.name={name}: its weights are not available:",
            *(f"  {failure}" for failure in failures),
            "What to do:",
            "  fetch them on a machine with network: nst-exp-weights fetch PRESET (the name in",
            "    backbone=PRESET; in a checkout: python scripts/fetch_weights.py PRESET), and copy",
            f"    its cache folder to {cache_folder()} here (NST_EXP_CACHE sets another folder);",
            "  or give a file: backbone.file=PATH (.pth .safetensors .h5 .onnx);",
            f"  or choose another backbone: backbone={other} comes from the package index.",
        ]
    )
