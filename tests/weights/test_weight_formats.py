"""Files of weights: every format, and what is refused."""

from __future__ import annotations

import os
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

from nst_exp.utils.errors import ConfigError, WeightsError
from nst_exp.weights import read_weights
from nst_exp.weights.architecture import convolutions, is_head, paper_names, trunk


def write_keras(path: Path, state: dict[str, Tensor], inside: str | None = None) -> None:
    """Layers named so that their alphabetical order is not the network's."""
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


def make_onnx(state: dict[str, Tensor]) -> onnx.ModelProto:
    nodes, initializers, previous = [], [], "x"
    for index, layer in enumerate(dict.fromkeys(key.rpartition(".")[0] for key in state)):
        names = [f"w{99 - index}", f"b{99 - index}"]  # the order of the names proves nothing
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


def test_torch_file(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save(state, tmp_path / "w.pth")
    assert same(read_weights(tmp_path / "w.pth", NAME), state)


def test_torch_file_of_the_old_kind(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert same(read_weights(tmp_path / "w.pth", NAME), state)


@pytest.mark.parametrize("container", ["state_dict", "model", "model_state_dict"])
def test_containers_and_data_parallel_prefix(
    tmp_path: Path, state: dict[str, Tensor], container: str
) -> None:
    wrapped = {container: {f"module.{key}": value for key, value in state.items()}, "epoch": 3}
    torch.save(wrapped, tmp_path / "w.pt")
    assert same(read_weights(tmp_path / "w.pt", NAME), state)


def test_safetensors(tmp_path: Path, state: dict[str, Tensor]) -> None:
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    assert same(read_weights(tmp_path / "w.safetensors", NAME), state)


def test_the_classifier_is_dropped(tmp_path: Path, state: dict[str, Tensor]) -> None:
    head = {"classifier.1.weight": torch.zeros(7, 7), "classifier.1.bias": torch.zeros(7)}
    torch.save({**state, **head}, tmp_path / "w.pth")
    assert same(read_weights(tmp_path / "w.pth", NAME), state)


def test_half_precision_becomes_float32(tmp_path: Path, state: dict[str, Tensor]) -> None:
    halves = {key: value.half() for key, value in state.items()}
    torch.save(halves, tmp_path / "w.pth")
    found = read_weights(tmp_path / "w.pth", NAME)
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert same(found, {key: value.float() for key, value in halves.items()})


def test_views_into_one_storage_are_copied(tmp_path: Path, state: dict[str, Tensor]) -> None:
    whole = torch.cat([value.flatten() for value in state.values()])
    views = whole.split([value.numel() for value in state.values()])
    torch.save(
        {key: view.view_as(state[key]) for key, view in zip(state, views, strict=True)},
        tmp_path / "w.pth",
    )
    found = read_weights(tmp_path / "w.pth", NAME)
    assert same(found, state)
    assert safetensors.torch.save(found)  # refuses shared memory


def test_the_papers_names_of_a_vgg(tmp_path: Path) -> None:
    state = random_state("vgg11")
    names = {new: old for old, new in paper_names("vgg11").items()}
    papers = {}
    for key, value in state.items():
        layer, _, kind = key.rpartition(".")
        papers[f"{names[layer]}.{kind}"] = value
    assert "conv3_2.bias" in papers
    torch.save({**papers, "fc6.weight": torch.zeros(2, 2)}, tmp_path / "w.pth")
    assert same(read_weights(tmp_path / "w.pth", "vgg11"), state)


def test_the_papers_names_point_at_torchvisions_layers() -> None:
    names = paper_names("vgg19")
    assert len(names) == 16
    assert names["conv1_1"] == "features.0"
    assert names["conv4_2"] == "features.21"
    assert names["conv5_4"] == "features.34"
    assert paper_names("resnet18") == {}


@pytest.mark.parametrize("inside", [None, "model_weights"])
@pytest.mark.parametrize("with_head", [False, True])
def test_keras(
    tmp_path: Path, state: dict[str, Tensor], inside: str | None, with_head: bool
) -> None:
    head = {"classifier.1.weight": torch.zeros(7, 512, 1, 1), "classifier.1.bias": torch.zeros(7)}
    write_keras(tmp_path / "w.h5", {**state, **(head if with_head else {})}, inside)
    assert same(read_weights(tmp_path / "w.h5", NAME), state)


def test_onnx(tmp_path: Path, state: dict[str, Tensor]) -> None:
    onnx.save(make_onnx(state), tmp_path / "w.onnx")
    assert same(read_weights(tmp_path / "w.onnx", NAME), state)


def test_onnx_may_not_refer_to_other_files(tmp_path: Path, state: dict[str, Tensor]) -> None:
    onnx.save(make_onnx(state), tmp_path / "w.onnx", save_as_external_data=True, size_threshold=0)
    with pytest.raises(WeightsError, match="in another file"):
        read_weights(tmp_path / "w.onnx", NAME)


def test_onnx_without_biases_is_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    model = make_onnx(state)
    del model.graph.node[0].input[2]
    onnx.save(model, tmp_path / "w.onnx")
    with pytest.raises(WeightsError, match="no stored weight and bias"):
        read_weights(tmp_path / "w.onnx", NAME)


def test_order_alone_is_not_enough_for_batch_norm(tmp_path: Path, state: dict[str, Tensor]) -> None:
    write_keras(tmp_path / "w.h5", state)
    with pytest.raises(WeightsError, match="not for resnet18"):
        read_weights(tmp_path / "w.h5", "resnet18")


def test_too_few_convolutions(tmp_path: Path, state: dict[str, Tensor]) -> None:
    write_keras(tmp_path / "w.h5", dict(list(state.items())[:-2]))
    with pytest.raises(WeightsError, match=r"24 convolutions where 25 belong"):
        read_weights(tmp_path / "w.h5", NAME)


def test_wrong_shapes_are_named(tmp_path: Path, state: dict[str, Tensor]) -> None:
    wrong = {**state, "features.0.weight": torch.zeros(64, 3, 5, 5)}
    path = tmp_path / "w.pth"
    torch.save(wrong, path)
    with pytest.raises(WeightsError) as caught:
        read_weights(path, NAME)
    assert str(path) in str(caught.value)
    assert "features.0.weight: expected (64, 3, 3, 3), found (64, 3, 5, 5)" in str(caught.value)


def test_wrong_shapes_in_a_keras_file(tmp_path: Path, state: dict[str, Tensor]) -> None:
    write_keras(tmp_path / "w.h5", {**state, "features.0.weight": torch.zeros(64, 3, 5, 5)})
    with pytest.raises(WeightsError, match=r"features\.0\.weight: expected \(64, 3, 3, 3\)"):
        read_weights(tmp_path / "w.h5", NAME)


def test_missing_weights_are_named(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save({"features.0.weight": state["features.0.weight"]}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"features\.0\.bias.*found nothing.*and \d+ more"):
        read_weights(tmp_path / "w.pth", NAME)


def test_a_deeper_relative_is_refused(tmp_path: Path) -> None:
    # resnet34 has every tensor of resnet18, in the same shapes
    assert set(trunk("resnet18")) < set(trunk("resnet34"))
    torch.save(random_state("resnet34"), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="unknown"):
        read_weights(tmp_path / "w.pth", "resnet18")


def test_batch_norm_and_densenets_old_names(tmp_path: Path) -> None:
    state = random_state("densenet121")
    old = {
        key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")
    }
    assert not set(old) <= set(state)
    torch.save(old, tmp_path / "w.pth")
    assert same(read_weights(tmp_path / "w.pth", "densenet121"), state)


def test_values_that_are_not_finite(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save({**state, "features.0.bias": torch.full((64,), float("nan"))}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"features\.0\.bias: holds values that are not finite"):
        read_weights(tmp_path / "w.pth", NAME)


class Evil:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.victim}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "w.pth"
    torch.save(
        {"state_dict": Evil(tmp_path / "victim")}, path, _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(WeightsError, match="would execute code"):
        read_weights(path, NAME)
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".h5", ".onnx"])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.001])
def test_cut_files(tmp_path: Path, state: dict[str, Tensor], suffix: str, share: float) -> None:
    path = tmp_path / f"w{suffix}"
    writers = {
        ".pth": lambda: torch.save(state, path),
        ".safetensors": lambda: safetensors.torch.save_file(state, path),
        ".h5": lambda: write_keras(path, state),
        ".onnx": lambda: onnx.save(make_onnx(state), path),
    }
    writers[suffix]()
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(WeightsError) as caught:
        read_weights(path, NAME)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".h5", ".onnx"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\n<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "LFS pointer"),
        (b"nothing in particular, but long enough to be read" * 9, "damaged"),
    ],
)
def test_strangers(tmp_path: Path, suffix: str, content: bytes, message: str) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        read_weights(path, NAME)
    assert "\n" not in str(caught.value)


def test_other_contents_of_a_torch_file(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="no state dict but list"):
        read_weights(tmp_path / "list.pth", NAME)
    torch.save({"epoch": 3}, tmp_path / "number.pth")
    with pytest.raises(WeightsError, match="'epoch' is int"):
        read_weights(tmp_path / "number.pth", NAME)


def test_missing_file_folder_and_suffix(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        read_weights(tmp_path / "w.pth", NAME)
    (tmp_path / "d.pth").mkdir()
    with pytest.raises(WeightsError, match="not a file"):
        read_weights(tmp_path / "d.pth", NAME)
    with pytest.raises(WeightsError, match="unknown kind of file"):
        read_weights(tmp_path / "w.caffemodel", NAME)


def test_unknown_architecture(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'vgg16'"):
        read_weights(tmp_path / "w.pth", "vgg_16")


def test_heads_of_torchvisions_architectures() -> None:
    assert is_head("fc.weight")
    assert is_head("heads.head.bias")
    assert not is_head("features.0.weight")
    for name in ("vgg16", "resnet18", "squeezenet1_1", "densenet121", "mobilenet_v3_small"):
        assert trunk(name)
    assert len(convolutions("vgg16")) == 13


def test_keras_may_not_refer_to_other_files(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path, other = tmp_path / "w.h5", tmp_path / "other.h5"
    write_keras(other, state)
    for link in (h5py.ExternalLink(str(other), "/0_layer0"), h5py.SoftLink("/7_layer1")):
        write_keras(path, state)
        with h5py.File(path, "a") as file:
            del file["0_layer0"]
            file["0_layer0"] = link
        with pytest.raises(WeightsError, match="is a link to elsewhere"):
            read_weights(path, NAME)
    with h5py.File(path, "w") as file:
        file["model_weights"] = h5py.ExternalLink(str(other), "/")
    with pytest.raises(WeightsError, match="is a link to elsewhere"):
        read_weights(path, NAME)


@pytest.mark.parametrize("kind", ["raw bytes", "virtual"])
def test_keras_may_not_take_its_numbers_from_other_files(
    tmp_path: Path, state: dict[str, Tensor], kind: str
) -> None:
    path, other = tmp_path / "w.h5", tmp_path / "other.h5"
    write_keras(path, state)
    write_keras(other, state)
    (tmp_path / "bytes").write_bytes(bytes(10_000))
    with h5py.File(path, "a") as file:
        group = file["0_layer0"]
        shape = group["kernel:0"].shape
        del group["kernel:0"]
        if kind == "virtual":
            layout = h5py.VirtualLayout(shape, dtype="f4")
            layout[:] = h5py.VirtualSource(str(other), "0_layer0/kernel:0", shape)
            group.create_virtual_dataset("kernel:0", layout)
        else:
            group.create_dataset("kernel:0", shape, "f4", external=str(tmp_path / "bytes"))
    with pytest.raises(WeightsError, match="in another file"):
        read_weights(path, NAME)


def test_a_keras_file_that_unpacks_to_terabytes(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "w.h5"
    write_keras(path, state)
    with h5py.File(path, "a") as file:
        del file["0_layer0/kernel:0"]
        file["0_layer0"].create_dataset("kernel:0", (10_000,) * 4, "f4", chunks=(1, 1, 9, 9))
    with pytest.raises(WeightsError, match="larger than any tensor"):
        read_weights(path, NAME)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(
            torch.zeros(64).to_sparse(),
            "not a plain tensor",
            marks=pytest.mark.filterwarnings("ignore:Validating sparse"),
        ),
        (torch.zeros(64, device="meta"), "not a plain tensor|damaged|refused"),
        (torch.full((64,), 1e300, dtype=torch.float64), "not finite"),  # too much for float32
        (torch.full((64,), float("nan")).to(torch.float8_e5m2), "not finite"),
        (torch.zeros(1).expand(10**9, 64), r"found \(1000000000, 64\)"),  # 4 bytes on the disk
    ],
)
def test_tensors_of_other_kinds(
    tmp_path: Path, state: dict[str, Tensor], value: Tensor, reason: str
) -> None:
    torch.save({**state, "features.0.bias": value}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=reason):
        read_weights(tmp_path / "w.pth", NAME)


def test_a_file_cannot_write_to_the_terminal(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file({**state, "\x1b]0;title\x07\nnext": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="unknown") as caught:
        read_weights(path, NAME)
    assert str(caught.value).isprintable()
