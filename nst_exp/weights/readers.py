"""Read a file of weights into torchvision's names.

Nothing in a file is executed: pickles are read with ``weights_only``. ONNX and Keras files may not
refer to other files, and no tensor is read that is larger than any of the network's.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import onnx.numpy_helper
import safetensors.torch
import torch
from torch import Tensor

from nst_exp.utils.errors import WeightsError
from nst_exp.weights.architecture import convolutions, is_head, paper_names, trunk

Convolution = tuple[np.ndarray, np.ndarray]
"""Weight (O, I, kh, kw) and bias (O,) of one convolution."""

_CONTAINERS = ("state_dict", "model_state_dict", "model")  # what training scripts wrap a dict in
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)\.")
_SHOWN = 4  # problems named in one message


def read_weights(path: Path, name: str) -> dict[str, Tensor]:
    """Read the weights of torchvision's architecture ``name`` from a file, without the classifier.

    ``.pth``/``.pt`` and ``.safetensors`` hold torchvision's names, or the paper's (``conv1_1``)
    for a VGG; ``.h5``/``.hdf5`` (Keras) and ``.onnx`` are read by the order of their convolutions.

    Returns:
        Every tensor of torchvision's state dict but the classifier's; float32 if floating-point.

    Raises:
        WeightsError: If the file cannot be read, or a tensor is missing, unknown or not finite, or
            has a wrong shape.
        ConfigError: If torchvision has no architecture of that name.
    """
    expected = trunk(name)
    readers: dict[str, Callable[[Path, str], dict[str, Tensor]]] = {
        ".pth": _read_pickle,
        ".pt": _read_pickle,
        ".safetensors": _read_safetensors,
        ".h5": _read_keras,
        ".hdf5": _read_keras,
        ".onnx": _read_onnx,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise WeightsError(f"{path}: unknown type of file; use one of {', '.join(readers)}")
    try:
        _refuse_other_files(path)
        return _checked(name, reader(path, name), expected)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except Exception as error:  # the libraries raise nearly every type of exception for damage
        if isinstance(error, OSError) and error.errno is not None:
            raise WeightsError(f"{path}: cannot be read: {error.strerror}") from error
        reason = _printable([*str(error).strip().splitlines(), type(error).__name__][0])
        raise WeightsError(f"{path}: cut off, damaged or not such a file ({reason})") from error


def _refuse_other_files(path: Path) -> None:
    """Name common mistakes, for which the libraries give confusing messages."""
    if not path.is_file():
        raise WeightsError("not a file" if path.exists() else "no such file")
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    if not start:
        raise WeightsError("the file is empty")
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise WeightsError("a web page, not weights (saved from a login or error page?)")
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError("a Git LFS pointer, not the weights; run `git lfs pull`")


def _read_pickle(path: Path, name: str) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            "refused, because it is damaged or holds pickled objects other than tensors, "
            "whose loading would execute code; save it again as a plain state dict or .safetensors"
        ) from error
    for container in _CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(container), Mapping):
            content = content[container]
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"holds no state dict but {type(content).__name__}")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            found = f"{_printable(repr(key))} is {type(value).__name__}, not a tensor"
            raise WeightsError(f"not a state dict: {found}")
    return _in_torchvision_names(dict(content), name)


def _read_safetensors(path: Path, name: str) -> dict[str, Tensor]:
    return _in_torchvision_names(safetensors.torch.load_file(path), name)


def _in_torchvision_names(content: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    paper = paper_names(name)
    renamed = {}
    for original, value in content.items():
        key = original
        while key.startswith("module."):  # left by DataParallel
            key = key.removeprefix("module.")
        layer, _, kind = key.rpartition(".")
        if layer in paper:
            key = f"{paper[layer]}.{kind}"
        elif paper and re.fullmatch(r"fc[678]", layer):  # the paper's names of the classifier
            continue
        # torchvision's published DenseNets carry names from before its renaming.
        key = _OLD_DENSENET.sub(r"\1\2.", key)
        renamed[key] = value
    return renamed


def _read_keras(path: Path, name: str) -> dict[str, Tensor]:
    with h5py.File(path, "r") as file:
        return _by_order(path.suffix, name, list(_keras_convolutions(name, file)))


def _keras_convolutions(name: str, file: h5py.File) -> Iterator[Convolution]:
    largest = max(map(math.prod, convolutions(name).values()))
    whole = file.get("model_weights", getlink=True) is not None  # not the weights alone
    root = _follow(file, "model_weights") if whole else file
    if "layer_names" not in root.attrs:
        raise WeightsError("not a Keras file of weights (no attribute 'layer_names')")
    for layer in root.attrs["layer_names"]:
        group = _follow(root, _text(layer))
        stored = [_follow(group, _text(w)) for w in group.attrs["weight_names"]]
        if not stored or len(stored[0].shape) != 4:
            continue
        if len(stored) != 2:
            raise WeightsError(f"{_printable(_text(layer))} is no convolution with a bias")
        weight, bias = (_read_dataset(dataset, largest) for dataset in stored)
        yield weight.transpose(3, 2, 0, 1), bias  # from kh, kw, I, O


def _follow(group: h5py.Group, name: str) -> Any:
    """Return a member of an HDF5 group; a link that could lead out of the file is refused."""
    for part in filter(None, name.split("/")):
        link = group.get(part, getlink=True)
        if link is not None and not isinstance(link, h5py.HardLink):
            raise WeightsError(f"{_printable(name)} is a link to elsewhere; save it as one file")
        group = group[part]
    return group


def _read_dataset(dataset: h5py.Dataset, largest: int) -> np.ndarray:
    if dataset.external or dataset.is_virtual:
        raise WeightsError("keeps its weights in another file; save it as one file")
    if dataset.size is None or dataset.size > largest:
        name = _printable(dataset.name)
        raise WeightsError(f"{name}: {dataset.shape} is larger than any tensor of the network")
    return np.asarray(dataset)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _read_onnx(path: Path, name: str) -> dict[str, Tensor]:
    # Data outside the file would escape the check of its hash.
    graph = onnx.load(path, load_external_data=False).graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    found: list[Convolution] = []
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        tensors = [initializers[key] for key in node.input[1:] if key in initializers]
        if len(tensors) != 2:
            name_of_node = _printable(node.name or node.output[0])
            raise WeightsError(f"convolution '{name_of_node}' has no stored weight and bias")
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors):
            raise WeightsError("keeps its weights in another file; save it as one file")
        weight, bias = (onnx.numpy_helper.to_array(tensor) for tensor in tensors)
        found.append((weight, bias))
    return _by_order(path.suffix, name, found)


def _by_order(suffix: str, name: str, found: list[Convolution]) -> dict[str, Tensor]:
    """Give the convolutions of a file torchvision's names, one after the other."""
    layers = convolutions(name)
    body = [layer for layer in layers if not is_head(f"{layer}.")]
    if {f"{layer}.{kind}" for layer in body for kind in ("weight", "bias")} != set(trunk(name)):
        raise WeightsError(
            f"{suffix} files are read by the order of the convolutions, which works "
            f"for VGG and SqueezeNet but not for {name}; give a .pth or .safetensors file"
        )
    if len(found) not in (len(body), len(layers)):
        raise WeightsError(
            f"not the weights of {name}: {len(found)} convolutions instead of {len(body)}"
        )
    if any(tensor.dtype.kind != "f" for pair in found for tensor in pair):
        raise WeightsError("quantized weights (not floating-point) cannot be used")
    state = {}
    for layer, (weight, bias) in zip(body, found, strict=False):  # the classifier's may follow
        state[f"{layer}.weight"] = torch.from_numpy(np.array(weight, dtype=np.float32))
        state[f"{layer}.bias"] = torch.from_numpy(np.array(bias, dtype=np.float32))
    return state


def _checked(name: str, found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the expected tensors as float32 copies; raise WeightsError with all that is wrong."""
    problems = []
    state = {}
    for key, like in expected.items():
        value = found.get(key)
        if value is None and key.endswith("num_batches_tracked"):
            value = torch.zeros_like(like, device="cpu")  # missing in old files; not used here
        if value is None:
            problems.append(f"{key}: expected {tuple(like.shape)}, found nothing")
        elif value.is_nested or value.layout != torch.strided or value.device.type != "cpu":
            problems.append(f"{key}: not a plain tensor")
        elif value.shape != like.shape:
            problems.append(f"{key}: expected {tuple(like.shape)}, found {tuple(value.shape)}")
        elif value.is_floating_point() != like.is_floating_point():
            problems.append(f"{key}: expected {like.dtype}, found {value.dtype}")
        else:
            # Converted first: torch cannot test every type, and float32 may add infinities.
            value = value.detach().to(torch.float32 if like.is_floating_point() else like.dtype)
            if not torch.isfinite(value).all():
                problems.append(f"{key}: has values that are not finite")
            # A copy: checkpoints may hold views into one large storage.
            state[key] = value.clone(memory_format=torch.contiguous_format)
    # A deeper relative of the architecture has all the expected names, and more.
    problems += [
        f"{_printable(key)}: unknown, {'nested' if value.is_nested else tuple(value.shape)}"
        for key, value in found.items()
        if key not in expected and not is_head(key)
    ]
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise WeightsError(
            f"not the weights of torchvision's {name}: {'; '.join(problems[:_SHOWN])}{more}"
        )
    return state


def _printable(text: str) -> str:
    """Return words of a file as at most one line without control characters."""
    cut = text if len(text) <= 200 else f"{text[:199]}…"
    return cut if cut.isprintable() else repr(cut)
