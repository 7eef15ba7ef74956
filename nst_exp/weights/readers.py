"""Read a file of weights into torchvision's names.

Nothing in a file is executed: pickles are read with ``weights_only``. ONNX and Keras files may not
refer to other files.
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import onnx.numpy_helper
import safetensors.torch
import torch
from torch import Tensor

from nst_exp.config.layer_names import aliases
from nst_exp.utils.errors import WeightsError, reason_of
from nst_exp.weights.architecture import convolutions, is_head, trunk

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
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise WeightsError(f"{path}: unknown type of file; use one of {', '.join(READERS)}")
    try:
        _refuse_text(path)
        return _checked(name, reader(path, name), expected)
    except WeightsError as error:
        reason = str(error)
    except Exception as error:  # the libraries raise nearly every type of exception for damage
        reason = reason_of(error).strip().partition("\n")[0]
        system = isinstance(error, OSError) and error.errno is not None
        problem = "cannot be read" if system else "cut off, damaged or not such a file"
        reason = f"{problem} ({reason})"
    # Parts of it come from the file.
    raise WeightsError(f"{path}: {reason if reason.isprintable() else repr(reason)}"[:2000])


def _refuse_text(path: Path) -> None:
    """Name common mistakes, for which the libraries give confusing messages."""
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
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
            raise WeightsError(f"not a state dict: {key!r} is {type(value).__name__}")
    return _in_torchvision_names(dict(content), name)


def _read_safetensors(path: Path, name: str) -> dict[str, Tensor]:
    return _in_torchvision_names(safetensors.torch.load_file(path), name)


def _in_torchvision_names(content: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    paper = aliases(name)
    renamed = {}
    for original, value in content.items():
        key = original
        while key.startswith("module."):  # left by DataParallel
            key = key.removeprefix("module.")
        layer, _, kind = key.rpartition(".")
        if layer in ("fc6", "fc7", "fc8"):  # the paper's names of the classifier
            continue
        if layer in paper:
            key = f"{paper[layer]}.{kind}"
        # torchvision's published DenseNets carry names from before its renaming.
        key = _OLD_DENSENET.sub(r"\1\2.", key)
        renamed[key] = value
    return renamed


def _read_keras(path: Path, name: str) -> dict[str, Tensor]:
    found: list[Convolution] = []
    with h5py.File(path, "r") as file:
        root = file if "layer_names" in file.attrs else _follow(file, "model_weights")
        for layer in root.attrs["layer_names"]:
            group = _follow(root, layer)
            stored = [_follow(group, dataset) for dataset in group.attrs["weight_names"]]
            if not stored or len(stored[0].shape) != 4:
                continue
            if any(dataset.external or dataset.is_virtual for dataset in stored):
                raise WeightsError("keeps its weights in another file; save it as one file")
            weight, bias = map(np.asarray, stored)
            found.append((weight.transpose(3, 2, 0, 1), bias))  # from kh, kw, I, O
    return _by_order(name, found)


def _follow(group: h5py.Group, name: str | bytes) -> Any:
    """Return a member of an HDF5 group; a link that could lead out of the file is refused."""
    name = name.decode() if isinstance(name, bytes) else name
    for part in filter(None, name.split("/")):
        link = group.get(part, getlink=True)
        if link is not None and not isinstance(link, h5py.HardLink):
            raise WeightsError(f"{name} is a link to elsewhere; save it as one file")
        group = group[part]
    return group


def _read_onnx(path: Path, name: str) -> dict[str, Tensor]:
    # Data outside the file would escape the check of its hash.
    graph = onnx.load(path, load_external_data=False).graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    found: list[Convolution] = []
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        stored = [initializers[key] for key in node.input[1:] if key in initializers]
        if len(stored) != 2:
            raise WeightsError(f"convolution '{node.name}' has no stored weight and bias")
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in stored):
            raise WeightsError("keeps its weights in another file; save it as one file")
        weight, bias = map(onnx.numpy_helper.to_array, stored)
        found.append((weight, bias))
    return _by_order(name, found)


def _by_order(name: str, found: list[Convolution]) -> dict[str, Tensor]:
    """Give the convolutions of a file torchvision's names, one after the other."""
    layers = convolutions(name)
    body = [layer for layer in layers if not is_head(f"{layer}.")]
    if {f"{layer}.{kind}" for layer in body for kind in ("weight", "bias")} != set(trunk(name)):
        raise WeightsError(
            "such a file is read by the order of its convolutions, which works for VGG and "
            f"SqueezeNet but not for {name}; give a .pth or .safetensors file"
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
        f"{key}: unknown, {tuple(value.shape)}"
        for key, value in found.items()
        if key not in expected and not is_head(key)
    ]
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise WeightsError(
            f"not the weights of torchvision's {name}: {'; '.join(problems[:_SHOWN])}{more}"
        )
    return state


READERS = {
    ".pth": _read_pickle,
    ".pt": _read_pickle,
    ".safetensors": _read_safetensors,
    ".h5": _read_keras,
    ".hdf5": _read_keras,
    ".onnx": _read_onnx,
}
"""Function that reads each type of file: path, architecture -> state dict."""
