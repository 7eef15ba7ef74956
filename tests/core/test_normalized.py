"""The normalized network, against naive float64 sums and the definition of its scales."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from helpers_run import TINY, picture, silent, tiny_run
from torch import Tensor

from nst_exp.app.api import make_config
from nst_exp.app.weights_command import main
from nst_exp.config.schema import Backbone as Settings
from nst_exp.config.schema import InputConvention, Padding, Pool
from nst_exp.core import normalized as normalize
from nst_exp.core.encoder import Encoder, build_encoder
from nst_exp.core.normalized import FLOOR, Normalization, convolutions, normalize_encoder, scales
from nst_exp.runner import network, run
from nst_exp.runner.calibration import CalibrationPicture, files_in, load_pictures, packaged
from nst_exp.runner.validate import validate
from nst_exp.utils.errors import ConfigError, WeightsError
from nst_exp.weights import LoadedWeights
from nst_exp.weights.architecture import trunk

MakeImage = Callable[..., Tensor]
LAYERS = [f"features.{index}" for index in range(11)]  # VGG-11 up to its third pooling
CONVOLUTIONS = [f"features.{index}" for index in (0, 3, 6, 8)]
VGG11 = Settings(name="vgg11", normalized=True)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NST_EXP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pictures(random_image: MakeImage) -> list[CalibrationPicture]:
    """Two pictures of unequal shape."""
    sides = [(40, 32), (24, 56)]
    return [
        CalibrationPicture(random_image(*side, seed=seed), Path(f"{seed}.png"), str(seed) * 64)
        for seed, side in enumerate(sides)
    ]


@cache
def random_weights(name: str) -> dict[str, Tensor]:
    """Weights under which activations keep their size, and biases that silence some channels."""
    generator = torch.Generator().manual_seed(0)
    weights: dict[str, Tensor] = {}
    for key, like in trunk(name).items():
        spread = (2.0 / like[0].numel()) ** 0.5 if like.dim() == 4 else 0.3
        weights[key] = (torch.randn(like.shape, generator=generator) * spread).to(like.dtype)
    return weights


def build(settings: Settings, layers: list[str] = LAYERS) -> Encoder:
    """A random network in float64, so that no rounding hides a wrong scale."""
    return build_encoder(settings, layers, random_weights(settings.name)).double()


def quiet(line: str) -> None:
    raise AssertionError(f"unexpected warning: {line}")


def normalized(
    backbone: Encoder, settings: Settings, pictures: list[CalibrationPicture]
) -> Normalization:
    return normalize_encoder(backbone, settings, "seed 0", pictures, quiet)


def naive_means(backbone: Encoder, pictures: list[CalibrationPicture], layer: str) -> list[float]:
    """The mean of each channel of a ReLU's map over all positions of all pictures."""
    maps = [backbone(picture.image.double())[layer][0] for picture in pictures]
    positions = sum(found.shape[1] * found.shape[2] for found in maps)
    return [
        sum(float(found[channel].sum()) for found in maps) / positions
        for channel in range(maps[0].shape[0])
    ]


@pytest.mark.parametrize("padding", list(Padding))
@pytest.mark.parametrize("pool_scale", [1.0, 1.7])
@pytest.mark.parametrize("pool", list(Pool))
def test_every_map_is_the_old_one_over_its_channels_scales(
    pool: Pool,
    pool_scale: float,
    padding: Padding,
    pictures: list[CalibrationPicture],
    random_image: MakeImage,
) -> None:
    settings = replace(VGG11, pool=pool, pool_scale=pool_scale, padding=padding)
    backbone = build(settings)
    image = random_image(33, 47, seed=7, dtype=torch.float64)  # not one of the calibration set
    before = backbone(image)
    result = normalized(backbone, settings, pictures)
    after = backbone(image)
    own = dict(zip(CONVOLUTIONS, result.means.values(), strict=True))
    by = torch.ones(1)
    for layer in LAYERS:
        by = scales(own[layer]) if layer in own else by
        expected = before[layer] / by.view(1, -1, 1, 1)
        # Of each map's largest value: where a convolution's terms cancel, only that much is left.
        tolerance = 1e-10 * float(expected.abs().max())
        torch.testing.assert_close(after[layer], expected, rtol=1e-10, atol=tolerance)


@pytest.mark.parametrize("convention", list(InputConvention))
@pytest.mark.parametrize("pool", list(Pool))
def test_mean_activation_is_one_on_the_calibration_set(
    pool: Pool, convention: InputConvention, pictures: list[CalibrationPicture]
) -> None:
    settings = replace(VGG11, pool=pool, input=convention)
    backbone = build(settings)
    relus = {"conv1_1": "features.1", "conv2_1": "features.4", "conv3_2": "features.9"}
    old = {name: naive_means(backbone, pictures, relu) for name, relu in relus.items()}
    result = normalized(backbone, settings, pictures)
    assert sum(result.bounded.values()) > 0  # else the other half of this test is void
    for name, relu in relus.items():
        least = FLOOR * sum(old[name]) / len(old[name])
        new = naive_means(backbone, pictures, relu)
        assert result.bounded[name] == sum(mean < least for mean in old[name])
        for mean_before, mean_after in zip(old[name], new, strict=True):
            # 1e-6: image tensors and ImageNet's constants are float32.
            assert mean_after == pytest.approx(min(1.0, mean_before / least), rel=1e-6, abs=1e-9)


def test_dead_channel_and_dead_layer_stay_finite(pictures: list[CalibrationPicture]) -> None:
    backbone = build(VGG11)
    chain = convolutions(backbone, "vgg11")
    first, second = chain["features.0"], chain["features.3"]
    first.weight.data[5], first.bias.data[5] = 0.0, -1.0  # type: ignore[union-attr]
    second.weight.data.zero_()
    second.bias.data.fill_(-1.0)  # type: ignore[union-attr]
    result = normalized(backbone, VGG11, pictures)
    assert result.bounded["conv1_1"] >= 1
    assert result.bounded["conv2_1"] == 128
    assert bool((scales(result.means["conv2_1"]) == 1).all())
    for module in chain.values():
        assert bool(torch.isfinite(module.weight).all())
        assert bool(torch.isfinite(module.bias).all())  # type: ignore[arg-type]
    maps = backbone(pictures[0].image.double())
    assert float(maps["features.1"][0, 5].max()) == 0.0
    assert all(bool(torch.isfinite(found).all()) for found in maps.values())


def test_activations_that_are_not_finite_are_an_error(pictures: list[CalibrationPicture]) -> None:
    backbone = build(VGG11)
    convolutions(backbone, "vgg11")["features.3"].weight.data.fill_(1e308)
    with pytest.raises(WeightsError, match=r"features\.3 are not finite"):
        normalized(backbone, VGG11, pictures)


def test_a_cut_network_gets_the_scales_of_the_whole(pictures: list[CalibrationPicture]) -> None:
    whole, cut = build(VGG11), build(VGG11, ["features.6"])  # no ReLU behind its last convolution
    results = [normalized(backbone, VGG11, pictures) for backbone in (whole, cut)]
    assert list(results[1].means) == ["conv1_1", "conv2_1", "conv3_1"]
    assert not results[1].from_cache
    for name, means in results[1].means.items():
        torch.testing.assert_close(means, results[0].means[name], rtol=1e-12, atol=0)


def test_the_given_weights_are_left_alone(pictures: list[CalibrationPicture]) -> None:
    state = random_weights("vgg11")
    copy = {name: value.clone() for name, value in state.items()}
    backbone = build_encoder(VGG11, LAYERS, state)
    normalized(backbone, VGG11, pictures)
    assert all(torch.equal(state[name], copy[name]) for name in state)


def test_alexnet(pictures: list[CalibrationPicture]) -> None:
    settings = replace(VGG11, name="alexnet")
    backbone = build(settings, ["relu2"])
    result = normalized(backbone, settings, pictures)
    means = torch.tensor(naive_means(backbone, pictures, "relu2"))
    assert int(((means - 1).abs() > 1e-6).sum()) == result.bounded["conv2"]


@pytest.mark.parametrize(
    ("name", "layer", "has"),
    [
        ("vgg11_bn", "relu2_1", "BatchNorm2d"),
        ("resnet18", "layer1", "BatchNorm2d, branches, add"),
        ("squeezenet1_1", "fire2", "branches, cat"),
        ("vgg11", "flatten", "flatten"),
    ],
)
def test_other_networks_are_refused(name: str, layer: str, has: str) -> None:
    settings = Settings(name=name, normalized=True)
    backbone = build_encoder(settings, [layer], random_weights(name))
    with pytest.raises(ConfigError, match=rf"backbone\.normalized.*{name} has {has}$"):
        normalize_encoder(backbone, settings, "seed 0", [], quiet)


def test_second_time_from_the_cache(
    pictures: list[CalibrationPicture], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = build(VGG11), build(VGG11)
    measured = normalized(first, VGG11, pictures)

    def no(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(normalize, "measure", no)
    cached = normalized(second, VGG11, pictures)
    assert (measured.from_cache, cached.from_cache) == (False, True)
    assert measured.bounded == cached.bounded
    assert all(torch.equal(measured.means[name], cached.means[name]) for name in measured.means)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    # The order of the pictures does not matter.
    assert normalized(build(VGG11), VGG11, pictures[::-1]).from_cache


@pytest.mark.parametrize("damage", ["cut", "flip", "shape", "nan", "negative"])
def test_damaged_cache_is_measured_anew(
    damage: str, pictures: list[CalibrationPicture], tmp_path: Path
) -> None:
    measured = normalized(build(VGG11), VGG11, pictures)
    (path,) = (tmp_path / "cache" / "normalized").glob("*.safetensors")
    content = path.read_bytes()
    values = {
        "shape": torch.ones(3, dtype=torch.float64),
        "nan": torch.full((64,), torch.nan, dtype=torch.float64),
        "negative": torch.full((64,), -1.0, dtype=torch.float64),
    }
    if damage == "cut":
        path.write_bytes(content[:-8])
    elif damage == "flip":  # a mean that is finite, positive, and wrong
        path.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    else:
        nodes = dict(zip(CONVOLUTIONS, measured.means.values(), strict=True))
        nodes["features.0"] = values[damage]
        data = normalize.safetensors.torch.save(nodes)
        path.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()  # damaged by whoever knows of the digest
        path.with_name(f"{path.name}.sha256").write_text(digest)
    warnings: list[str] = []
    again = normalize_encoder(build(VGG11), VGG11, "seed 0", pictures, warnings.append)
    assert not again.from_cache
    assert len(warnings) == 1
    assert str(path) in warnings[0]
    assert all(torch.equal(measured.means[name], again.means[name]) for name in measured.means)
    assert path.read_bytes() == content  # mended


def test_cache_that_cannot_be_written_is_said(
    pictures: list[CalibrationPicture], tmp_path: Path
) -> None:
    (tmp_path / "cache").write_bytes(b"a file")
    warnings: list[str] = []
    normalize_encoder(build(VGG11), VGG11, "seed 0", pictures, warnings.append)
    assert any("cannot be kept" in line for line in warnings)


def test_whatever_changes_the_means_has_its_own_entry(
    pictures: list[CalibrationPicture], random_image: MakeImage
) -> None:
    other = CalibrationPicture(random_image(32, 32, seed=9), Path("9.png"), "9" * 64)
    variants = [
        (VGG11, "seed 0", pictures),
        (VGG11, "seed 1", pictures),
        (VGG11, "seed 0", pictures[:1]),
        (VGG11, "seed 0", [pictures[0], other]),
        (replace(VGG11, pool=Pool.average), "seed 0", pictures),
        (replace(VGG11, pool_scale=2.0), "seed 0", pictures),
        (replace(VGG11, padding=Padding.replicate), "seed 0", pictures),
        (replace(VGG11, input=InputConvention.caffe), "seed 0", pictures),
    ]
    for settings, weights, shown in variants:
        result = normalize_encoder(build(settings), settings, weights, shown, quiet)
        assert not result.from_cache


def test_pictures_have_one_area_and_count_once(tmp_path: Path) -> None:
    picture(tmp_path / "wide.png", (400, 100), seed=1)
    picture(tmp_path / "small.png", (30, 20), seed=2)
    (tmp_path / "again.png").write_bytes((tmp_path / "small.png").read_bytes())
    picture(tmp_path / "ribbon.png", (900, 20), seed=3)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden").write_text("no picture")
    (tmp_path / "folder").mkdir()
    warnings: list[str] = []
    found = load_pictures(files_in(str(tmp_path), key="some.key"), warnings.append)
    assert [entry.path.name for entry in found] == ["again.png", "wide.png"]
    for entry in found:
        height, width = entry.image.shape[2:]
        assert height * width == pytest.approx(256 * 256, rel=0.01)  # sides are whole numbers
    assert found[1].image.shape == (1, 3, 128, 512)
    assert len(warnings) == 2
    assert "some.key" in warnings[0]
    assert "notes.txt" in warnings[0]
    assert "ribbon.png: it is narrower than 1 : 16" in warnings[1]


def test_folder_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"some\.key=.*No such file"):
        files_in(str(tmp_path / "gone"), key="some.key")
    with pytest.raises(ConfigError, match=r"some\.key=.*holds no pictures"):
        files_in(str(tmp_path), key="some.key")
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(ConfigError, match=r"some\.key: none of the files"):
        load_pictures(files_in(str(tmp_path), key="some.key"), silent)


def test_checks() -> None:
    def refused(*overrides: str) -> str:
        with pytest.raises(ConfigError) as caught:
            validate(make_config([*TINY, *overrides]))
        return str(caught.value)

    on = "backbone.normalized=true"
    assert "backbone.calibration=gone: no such folder" in refused(
        "backbone=vgg16", on, "backbone.calibration=gone"
    )
    assert "only read with backbone.normalized=true" in refused("backbone.calibration=gone")
    assert "which squeezenet1_1 is not" in refused(on)
    validate(make_config([*TINY, "backbone=vgg16_normalized", "backbone.calibration=."]))


@pytest.fixture
def no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights in the place of trained ones; there are none of vgg19."""

    def load(settings: Settings, *, report: Callable[[str], None]) -> LoadedWeights:
        if settings.name == "vgg19":
            raise WeightsError("not here")
        return LoadedWeights(random_weights(settings.name), "a test", "0" * 64, "the authors")

    monkeypatch.setattr(network, "load_weights", load)
    monkeypatch.setattr("nst_exp.app.weights_normalized.load_weights", load)


SMALL = [
    "backbone=vgg11",
    "backbone.weights=pretrained",
    "loss.content.layers=[relu2_1]",
    "loss.style.layers=[relu1_1]",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one picture and one file that is none."""
    path = tmp_path / "calibration"
    path.mkdir()
    picture(path / "a.png", (60, 50))
    (path / "b.txt").write_text("no picture")
    return path


@pytest.mark.usefixtures("no_download")
def test_run_with_a_folder_of_pictures(folder: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    overrides = [*SMALL, "backbone.normalized=true", f"backbone.calibration={folder}"]
    config = make_config([*TINY, *overrides])
    result = run.run(config, tmp_path / "out", lines.append)
    found = result.record["normalized"]
    assert [Path(entry["path"]).name for entry in found["pictures"]] == ["a.png"]
    assert found["floor"] == FLOOR
    assert set(found["layers"]) == {"conv1_1", "conv2_1"}
    assert found["layers"]["conv1_1"]["channels"] == 64
    assert any(line.startswith("normalized to a mean") and "measured now" in line for line in lines)
    assert any("b.txt" in line for line in result.record["warnings"])
    plain = tiny_run(None, *SMALL)
    assert "normalized" not in plain.record
    assert plain.losses["content"] != result.losses["content"]


@pytest.mark.usefixtures("no_download")
def test_run_on_packaged_and_own_pictures(tmp_path: Path) -> None:
    own = picture(tmp_path / "own.png", (60, 50))
    result = tiny_run(None, *SMALL, "backbone.normalized=true", f"content={own}")
    names = [Path(entry["path"]).name for entry in result.record["normalized"]["pictures"]]
    assert names == [*(path.name for _, path in packaged()), "own.png"]  # the style is packaged


@pytest.mark.usefixtures("no_download")
def test_resuming_with_other_pictures_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = [*SMALL, "backbone.normalized=true", f"backbone.calibration={folder}"]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(run._Run, "_fit", killed)
        with pytest.raises(KeyboardInterrupt):
            tiny_run(tmp_path / "out", *overrides)
    picture(folder / "a.png", (60, 50), seed=1)
    for _ in range(2):  # the refusal does not make it forget
        with pytest.raises(ConfigError, match="normalized on other pictures"):
            tiny_run(tmp_path / "out", *overrides)
    picture(folder / "a.png", (60, 50))
    tiny_run(tmp_path / "out", *overrides)


@pytest.mark.usefixtures("no_download")
@pytest.mark.parametrize(
    "overrides", [["backbone=vgg19_normalized"], ["backbone=vgg19", "backbone.normalized=true"]]
)
def test_stand_in_is_normalized_as_well(overrides: list[str], folder: Path) -> None:
    result = tiny_run(None, *SMALL[1:], *overrides, f"backbone.calibration={folder}")
    assert result.record["substituted"][0]["by"] == "vgg16"
    assert result.record["config"]["backbone"]["normalized"] is True
    assert len(result.record["normalized"]["pictures"]) == 1


def test_command_round_trip(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.chdir(tmp_path)
    load_weights = network.load_weights
    request.getfixturevalue("no_download")
    assert main(["normalize", "alexnet", "--images", str(folder), "--pool", "average"]) == 0
    captured = capsys.readouterr()
    file = tmp_path / "alexnet-normalized.safetensors"
    table = [line.split() for line in captured.out.splitlines()]
    assert table[0] == ["layer", "channels", "mean", "before", "bounded"]
    assert [row[:2] for row in table[1:6]] == [
        ["conv1", "64"],
        ["conv2", "192"],
        ["conv3", "384"],
        ["conv4", "256"],
        ["conv5", "256"],
    ]
    assert table[1][3].endswith("%")
    assert str(file.name) in captured.out

    # The file, through backbone.file, is the network that a run normalizes itself.
    settings = replace(Settings(name="alexnet", pool=Pool.average), normalized=True)
    backbone = build_encoder(settings, ["relu5"], random_weights("alexnet"))
    found = load_pictures([("a", folder / "a.png")], quiet)
    normalized(backbone, settings, found)
    overrides = [
        *("backbone=alexnet", "backbone.weights=pretrained", f"backbone.file={file}"),
        "backbone.pool=average",
    ]
    config = make_config([*TINY, *overrides, "size=64", "steps=1"])
    monkeypatch.setattr(network, "load_weights", load_weights)
    loaded = network.load_weights(config.backbone, report=silent)
    again = build_encoder(config.backbone, ["relu5"], loaded.state_dict)
    image = found[0].image
    # 1e-4 of the largest value: float32, and memory layouts sum in different orders
    torch.testing.assert_close(
        again(image)["relu5"],
        backbone(image)["relu5"],
        rtol=1e-4,
        atol=1e-4 * float(backbone(image)["relu5"].max()),
    )
    assert run.run(config, None, silent).losses["total"] > 0


@pytest.mark.usefixtures("no_download")
def test_command_replaces_nothing_unless_told_to(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "x.safetensors"
    target.write_bytes(b"mine")
    command = ["normalize", "alexnet", "--images", str(folder), "--out", str(target)]
    assert main(command) == 5
    assert "--force replaces it" in capsys.readouterr().err
    assert target.read_bytes() == b"mine"
    assert main([*command, "--force"]) == 0
    assert len(target.read_bytes()) > 1_000_000
    captured = capsys.readouterr()
    assert "warning: not measured on: --images=" in captured.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["vgg61"], 2, "did you mean"),
        (["resnet18"], 2, "which resnet18 is not"),
        (["alexnet", "--images", "gone"], 2, "--images=gone"),
        (["alexnet", "--out", "x.pth"], 2, "must end in .safetensors"),
        (["alexnet", "--out", "gone/x.safetensors"], 5, "there is no folder"),
    ],
)
def test_command_refuses(
    arguments: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["normalize", *arguments]) == code
    assert words in capsys.readouterr().err
