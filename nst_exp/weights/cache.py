"""The cache of pretrained weights: safetensors files that hold their own record.

``<cache>/backbones/<architecture>-<16 hex digits of the source's SHA-256>.safetensors``. The header
says where the weights come from, and a hash of the record and the tensors; a file is used only if
the hash is right.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from nst_exp.utils.atomic_files import write_bytes_atomically
from nst_exp.utils.errors import WeightsError, reason_of
from nst_exp.utils.paths import cache_folder

_VERSION = "2"  # raised when the conversion changes: older files are then made again


class DamagedError(WeightsError):
    """A cached file is not what was written, or has no record."""


@dataclass(frozen=True)
class Record:
    """Where cached weights come from."""

    name: str  # architecture
    source_sha256: str  # of the file as published
    source: str
    credit: str
    version: str = _VERSION


def weights_folder() -> Path:
    """Return the folder of the cached weights."""
    return cache_folder() / "backbones"


def stem(name: str, source_sha256: str) -> str:
    """Return the file name, without suffix, of weights from the source with that SHA-256."""
    return f"{name}-{source_sha256[:16].lower()}"


def find(name: str, source_sha256: str) -> Path | None:
    """Return the cached weights of ``name`` from the source with that SHA-256, or prefix of it."""
    pattern = f"{stem(name, source_sha256)}*.safetensors"
    return min(weights_folder().glob(pattern), default=None)


def entries() -> list[Path]:
    """List every cached file by name."""
    return sorted(weights_folder().glob("*.safetensors"))


def read(path: Path) -> tuple[Record, dict[str, Tensor]]:
    """Return the record and the tensors of a cached file.

    Raises:
        DamagedError: If the file cannot be read or its hash is wrong.
    """
    try:
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
        expected = metadata.pop("hash")
        record = Record(**metadata)
        tensors = safetensors.torch.load(content)
    except OSError as error:
        raise DamagedError(f"it cannot be read ({reason_of(error)})") from error
    except (ValueError, TypeError, KeyError, RecursionError, SafetensorError) as error:
        raise DamagedError("it is damaged, or its record is missing") from error
    if record.version != _VERSION:
        raise DamagedError("it was made by another version of nst_exp")
    if (found := _hash(record, tensors)) != expected:
        raise DamagedError(f"its SHA-256 is {found[:16]}..., should be {str(expected)[:16]}...")
    return record, tensors


def write(record: Record, tensors: Mapping[str, Tensor]) -> Path:
    """Write weights to the cache.

    Raises:
        OSError, OutputError: If the cache cannot be written.
    """
    path = weights_folder() / f"{stem(record.name, record.source_sha256)}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = asdict(record) | {"hash": _hash(record, tensors)}
    write_bytes_atomically(path, safetensors.torch.save(dict(tensors), metadata))
    return path


def _hash(record: Record, tensors: Mapping[str, Tensor]) -> str:
    """Hash the record and the tensors with their names, types and shapes."""
    digest = hashlib.sha256(json.dumps(asdict(record), sort_keys=True).encode())
    for key in sorted(tensors):
        tensor = tensors[key]
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()
