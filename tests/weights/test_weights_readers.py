"""Files of weights: every format, and what is refused."""

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import pytest
import safetensors.torch
import torch
from torch import Tensor
from weight_helpers import NAME, random_state, same

from nst_exp.config.layer_names import aliases
from nst_exp.utils.errors import ConfigError, WeightsError
from nst_exp.weights.architecture import is_head, trunk
from nst_exp.weights.readers import read_weights

State = dict[str, Tensor]
SUFFIXES = (".pth", ".safetensors", ".h5", ".onnx")
HEAD = {"classifier.1.weight": torch.zeros(7, 512, 1, 1), "classifier.1.bias": torch.zeros(7)}


def write_keras(path: Path, state: State, inside: str | None = None) -> None:
    """Write layers whose alphabetical order is not the network's."""
    with h5py.File(path, "w") as file:
        root = file.create_group(inside) if inside else file
        layers = list(dict.fromkeys(key.rpartition(".")[0] for key in state))
        names = [f"{(7 * i) % 10}_layer{i}" for i in range(len(layers))]
        root.attrs["layer_names"] = ["input", *names, "dense"]
        root.create_group("input").attrs["weight_names"] = np.array([], dtype="S1")
        dense = root.create_group("dense")
        dense.attrs["weight_names"] = ["W", "b"]
        dense["W"], dense["b"] = np.zeros((4, 5)), np.zeros(5)
        for name, layer in zip(names, layers, strict=True):
            group = root.create_group(name)
            group.attrs["weight_names"] = [b"kernel:0", b"bias:0"]
            group["kernel:0"] = state[f"{layer}.weight"].permute(2, 3, 1, 0).numpy()
            group["bias:0"] = state[f"{layer}.bias"].numpy()


def make_onnx(state: State) -> onnx.ModelProto:
    nodes, initializers, previous = [], [], "x"
    for index, layer in enumerate(dict.fromkeys(key.rpartition(".")[0] for key in state)):
        names = [f"w{99 - index}", f"b{99 - index}"]  # not in the order of the network
        nodes += [
            onnx.helper.make_node("Conv", [previous, *names], [f"c{index}"]),
            onnx.helper.make_node("Relu", [f"c{index}"], [f"r{index}"]),
        ]
        previous = f"r{index}"
        for name, kind in zip(names, ("weight", "bias"), strict=True):
            tensor = state[f"{layer}.{kind}"].numpy()
            initializers.append(onnx.numpy_helper.from_array(tensor, name))
    graph = onnx.helper.make_graph(nodes, "g", [], [], initializers[::-1])
    return onnx.helper.make_model(graph)


def write(path: Path, state: State) -> None:
    writers: dict[str, Callable[[], object]] = {
        ".pth": lambda: torch.save(state, path),
        ".safetensors": lambda: safetensors.torch.save_file(state, path),
        ".h5": lambda: write_keras(path, state),
        ".onnx": lambda: onnx.save(make_onnx(state), path),
    }
    writers[path.suffix]()


def refusal(path: Path, name: str = NAME) -> str:
    """Return the message with which a file is refused: one line that begins with its path."""
    with pytest.raises(WeightsError) as caught:
        read_weights(path, name)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("with_head", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_formats(tmp_path: Path, state: State, suffix: str, with_head: bool) -> None:
    path = tmp_path / f"w{suffix}"
    write(path, state | HEAD if with_head else state)
    assert same(read_weights(path, NAME), state)
    if suffix == ".h5":
        write_keras(path, state, inside="model_weights")  # as a whole model is saved
        assert same(read_weights(path, NAME), state)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("container", ["state_dict", "model", "model_state_dict"])
def test_torch_containers(tmp_path: Path, state: State, container: str, zipped: bool) -> None:
    wrapped = {container: {f"module.{key}": value for key, value in state.items()}, "epoch": 3}
    torch.save(wrapped, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    assert same(read_weights(tmp_path / "w.pt", NAME), state)


def test_half_precision_and_shared_memory(tmp_path: Path, state: State) -> None:
    whole = torch.cat([value.flatten() for value in state.values()]).half()
    views = whole.split([value.numel() for value in state.values()])
    shaped = {k: view.view_as(v) for (k, v), view in zip(state.items(), views, strict=True)}
    torch.save(shaped, tmp_path / "w.pth")
    found = read_weights(tmp_path / "w.pth", NAME)
    assert same(found, {key: value.half().float() for key, value in state.items()})
    assert safetensors.torch.save(found)  # refuses shared memory


def test_names_of_the_paper(tmp_path: Path) -> None:
    state = random_state("vgg11")
    names = {node: layer for layer, node in aliases("vgg11").items()}
    papers = {}
    for key, value in state.items():
        layer, _, kind = key.rpartition(".")
        papers[f"{names[layer]}.{kind}"] = value
    assert "conv3_2.bias" in papers
    write(tmp_path / "w.pth", {**papers, "fc6.weight": torch.zeros(2, 2)})
    assert same(read_weights(tmp_path / "w.pth", "vgg11"), state)


def test_batch_norm_and_old_names_of_densenets(tmp_path: Path) -> None:
    state = random_state("densenet121")
    old = {
        key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")
    }
    assert not set(old) <= set(state)
    write(tmp_path / "w.pth", old)
    assert same(read_weights(tmp_path / "w.pth", "densenet121"), state)


def test_trunks_of_architectures() -> None:
    assert is_head("heads.head.bias")
    for name in ("vgg16", "resnet18", "googlenet", "regnet_y_400mf", "mobilenet_v3_small"):
        assert trunk(name)
        assert not any(map(is_head, trunk(name)))
    with pytest.raises(ConfigError, match="did you mean 'vgg16'"):
        trunk("vgg_16")


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("features.0.weight", torch.zeros(64, 3, 5, 5), r"(64, 3, 3, 3), found (64, 3, 5, 5)"),
        ("features.0.bias", torch.full((64,), float("nan")), "not finite"),
        ("features.0.bias", torch.full((64,), 1e300, dtype=torch.float64), "not finite"),
        ("features.0.bias", torch.full((64,), float("nan")).to(torch.float8_e5m2), "not finite"),
        ("features.0.bias", torch.zeros(64, dtype=torch.int64), "expected torch.float32"),
        ("features.0.bias", torch.zeros(1).expand(10**9, 64), "found (1000000000, 64)"),
        ("\x1b]0;title\x07\nnext", torch.zeros(1), "unknown"),
        pytest.param(
            "features.0.bias",
            torch.zeros(64).to_sparse(),
            "damaged",
            marks=pytest.mark.filterwarnings("ignore:Validating sparse"),
        ),
    ],
)
def test_wrong_tensors_are_named(
    tmp_path: Path, state: State, key: str, value: Tensor, reason: str
) -> None:
    write(tmp_path / "w.pth", {**state, key: value})
    assert reason in refusal(tmp_path / "w.pth")


def test_missing_and_further_tensors_are_named(tmp_path: Path, state: State) -> None:
    write(tmp_path / "w.pth", {"features.0.weight": state["features.0.weight"]})
    message = refusal(tmp_path / "w.pth")
    assert "features.0.bias: expected (64,), found nothing" in message
    assert "more" in message
    assert set(trunk("resnet18")) < set(trunk("resnet34"))
    write(tmp_path / "w.pth", random_state("resnet34"))
    assert "unknown" in refusal(tmp_path / "w.pth", "resnet18")


def test_files_that_are_read_by_order(tmp_path: Path, state: State) -> None:
    write_keras(tmp_path / "w.h5", dict(list(state.items())[:-2]))
    assert "24 convolutions instead of 25" in refusal(tmp_path / "w.h5")
    assert "not for resnet18" in refusal(tmp_path / "w.h5", "resnet18")  # its BatchNorm is missing
    write(tmp_path / "w.onnx", {key: value.to(torch.int8) for key, value in state.items()})
    assert "quantized" in refusal(tmp_path / "w.onnx")
    model = make_onnx(state)
    onnx.save(model, tmp_path / "w.onnx", save_as_external_data=True, size_threshold=0)
    assert "in another file" in refusal(tmp_path / "w.onnx")
    del model.graph.node[0].input[2]
    onnx.save(model, tmp_path / "w.onnx")
    assert "no stored weight and bias" in refusal(tmp_path / "w.onnx")


class Evil:
    """A pickle that creates a file when it is loaded without restrictions."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.victim}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, zipped: bool) -> None:
    content = {"state_dict": Evil(tmp_path / "victim")}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    assert "would execute code" in refusal(tmp_path / "w.pth")
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_that_are_cut_off(tmp_path: Path, state: State, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    write(path, state)
    size = path.stat().st_size
    for length in (int(0.9 * size), size // 2, size // 1000, 0):
        os.truncate(path, length)
        assert any(words in refusal(path) for words in ("cut off", "refused", "convolutions"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.pth", b"\n<!DOCTYPE html><html>", "web page"),
        ("w.h5", b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "LFS pointer"),
        ("w.pth", b"nothing in particular, but long enough to be read" * 9, "damaged"),
        ("w.onnx", b"nothing in particular, but long enough to be read" * 9, "damaged"),
        ("w.caffemodel", b"", "unknown type of file"),
        ("list.pth", [1, 2], "no state dict but list"),
        ("number.pth", {"epoch": 3}, "'epoch' is int"),
    ],
)
def test_files_of_another_type(tmp_path: Path, name: str, content: object, message: str) -> None:
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        torch.save(content, tmp_path / name)
    assert message in refusal(tmp_path / name)


@pytest.mark.parametrize("kind", ["external link", "soft link", "external data", "virtual"])
def test_keras_may_not_refer_to_other_files(tmp_path: Path, state: State, kind: str) -> None:
    path, other = tmp_path / "w.h5", tmp_path / "other.h5"
    write_keras(path, state)
    write_keras(other, state)
    (tmp_path / "bytes").write_bytes(bytes(10_000))
    with h5py.File(path, "a") as file:
        group = file["0_layer0"]
        shape = group["kernel:0"].shape
        if kind.endswith("link"):
            del file["0_layer0"]
            external = h5py.ExternalLink(str(other), "/0_layer0")
            file["0_layer0"] = external if kind == "external link" else h5py.SoftLink("/7_layer1")
        elif kind == "virtual":
            del group["kernel:0"]
            layout = h5py.VirtualLayout(shape, dtype="f4")
            layout[:] = h5py.VirtualSource(str(other), "0_layer0/kernel:0", shape)
            group.create_virtual_dataset("kernel:0", layout)
        else:
            del group["kernel:0"]
            group.create_dataset("kernel:0", shape, "f4", external=str(tmp_path / "bytes"))
    expected = "is a link to elsewhere" if kind.endswith("link") else "in another file"
    assert expected in refusal(path)
