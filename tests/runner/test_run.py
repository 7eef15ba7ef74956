"""Whole runs: the result, its record, and what the settings do to the image."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_run import TINY, picture, pixels, tiny_run
from tifffile import imread

from nst_exp.app.api import make_config
from nst_exp.config.serialize import config_as_dict
from nst_exp.core.encoder import build_encoder
from nst_exp.core.objective import build_objective
from nst_exp.core.targets import whole_image
from nst_exp.images import read_metadata
from nst_exp.runner.inputs import load_inputs
from nst_exp.runner.result import Result
from nst_exp.runner.run import run
from nst_exp.utils.errors import ConfigError

DEEP = ["image=out.tif", "bit_depth=16", "beta=100"]
OVERRIDES = ["steps=5", "a=b"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A run with most defaults, saved with 16 bits."""
    config = make_config([*TINY, *DEEP])
    before = config_as_dict(config)
    result = run(config, tmp_path_factory.mktemp("done"), overrides=OVERRIDES)
    assert config_as_dict(config) == before
    return result


def test_record(done: Result) -> None:
    """The image carries its settings as well."""
    assert done.folder is not None
    assert done.path is not None
    record = json.loads((done.folder / "result.json").read_text(encoding="utf-8"))
    assert done.record == record
    assert (record["status"], record["losses"], record["step"]) == ("done", done.losses, 5)
    assert record["evaluations"] >= 5
    assert (record["width"], record["height"]) == done.image.size
    assert torch.__version__.startswith(record["versions"]["torch"].partition("+")[0])
    assert (record["warnings"], record["substituted"]) == ([], [])
    assert record["weights"]["source"] == "random, seed 0"
    for entry in record["inputs"].values():
        data = Path(entry["path"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
    config = make_config([*TINY, *DEEP])
    assert record["config"] == config_as_dict(config)
    assert record["overrides"] == OVERRIDES
    assert record["layers"]["content"] == config.backbone.content_layers
    assert record["layers"]["style"] == config.backbone.style_layers
    metadata = read_metadata(done.path, key="test")
    assert metadata["Software"].startswith("nst_exp ")
    names = ("config", "inputs", "weights", "versions", "overrides")
    assert json.loads(metadata["nst_exp"]) == {name: record[name] for name in names}


def test_losses_are_those_of_the_saved_image(done: Result) -> None:
    """Evaluated from the 16-bit file, with nothing of the run but its config."""
    config = make_config([*TINY, *DEEP])
    config.loss.content.layers = config.backbone.content_layers
    config.loss.style.layers = config.backbone.style_layers
    layers = list(dict.fromkeys([*config.loss.content.layers, *config.loss.style.layers]))
    backbone = build_encoder(config.backbone, layers, None, config.seed, False)
    content, (style,), _ = load_inputs(config).tensors(config.size)
    objective = build_objective(
        config.loss, config.alpha, config.beta, backbone(content), whole_image(backbone(style))
    )
    with torch.no_grad():
        samples = imread(done.path).astype(np.float32) / 65535
        image = torch.from_numpy(samples).permute(2, 0, 1)[None]
        again = objective(image, backbone(image)).as_floats()
    # 16 bits round by 8e-6 of the range; losses are of order 1 and smooth.
    for name, value in done.losses.items():
        assert again[name] == pytest.approx(value, rel=1e-3, abs=1e-6), name
    parts = config.alpha * again["content"] + config.beta * again["style"]
    parts += config.loss.tv.weight * again["tv"] + config.loss.range_weight * again["range"]
    assert done.losses["total"] == pytest.approx(parts, rel=1e-3)


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second, other = (
        tiny_run(tmp_path / name, "init=noise", f"seed={seed}")
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.image != other.image


@pytest.mark.parametrize("kind", ["content", "style", "file"])
def test_start_from_an_image(tmp_path: Path, kind: str) -> None:
    own = picture(tmp_path / "own.png", (48, 32), seed=9)
    words = ["steps=1", f"init={kind}", *[f"init.file={own}"] * (kind == "file")]
    record = tiny_run(tmp_path / "run", *words).record
    found = pixels(tmp_path / "run" / "snapshots" / "step_000000.png") / 255.0
    config = make_config([*TINY, *words])
    content, _, start = load_inputs(config).tensors(config.size)
    expected = (content if start is None else start)[0].permute(1, 2, 0).numpy()
    # Snapshots have 8 bits; the way through the Fourier basis costs float32's rounding only.
    assert np.abs(found - expected).max() < 0.5 / 255 + 1e-4
    if kind == "file":
        assert np.abs(expected - pixels(own) / 255.0).max() < 1e-6
        hashed = hashlib.sha256(own.read_bytes()).hexdigest()
        assert record["inputs"]["init.file"]["sha256"] == hashed


@pytest.mark.parametrize(
    ("optimizer", "precision"),
    [("lbfgs", "bf16-mixed"), ("lbfgs", "64-true"), ("adam", "bf16-mixed")],
)
def test_other_precisions_end_near_float32(optimizer: str, precision: str) -> None:
    settings = [f"optimizer={optimizer}", "steps=8"]
    plain = tiny_run(None, *settings)
    other = tiny_run(None, *settings, f"trainer.precision={precision}")
    assert all(np.isfinite(value) for value in other.losses.values())
    # bfloat16 has 8 bits of precision, and its rounding goes through eight steps.
    tolerance = 0.5 if precision == "bf16-mixed" else 0.05
    assert other.losses["total"] == pytest.approx(plain.losses["total"], rel=tolerance)


@pytest.mark.parametrize(
    ("capabilities", "warned"),
    [({"avx512_f": True, "avx512_bf16": False}, True), ({"avx512_bf16": True}, False), ({}, False)],
)
def test_a_processor_without_bfloat16_gets_a_warning(
    capabilities: dict[str, bool], warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    settings = ["steps=1", "trainer.accelerator=cpu", "trainer.precision=bf16-mixed"]
    warnings = tiny_run(None, *settings).record["warnings"]
    assert any(line.startswith("trainer.precision=bf16-mixed: ") for line in warnings) is warned


@pytest.mark.parametrize(
    ("key", "overrides"),
    [
        ("size", "size=6"),
        ("resolution.style_size", "size=96 resolution.style_size=6"),
        ("resolution.min_size", "size=96 resolution.pyramid=true resolution.min_size=8"),
        ("resolution.sizes", "size=96 resolution.pyramid=true resolution.sizes=[8,24,96]"),
        ("size", "size=40 backbone=alexnet backbone.weights=random"),
    ],
)
def test_image_that_is_too_small_is_refused_with_a_value_that_helps(
    tmp_path: Path, key: str, overrides: str
) -> None:
    """Before the network is built, least sizes are known for VGG alone."""
    image = picture(tmp_path / "wide.png", (96, 48))
    words = [f"content={image}", f"style={image}", *overrides.split()]
    with pytest.raises(ConfigError) as caught:
        tiny_run(None, *words)
    fact, advice = str(caught.value).split("; use ")
    assert fact.startswith(f"{key}=")
    tiny_run(None, *words, *advice.removesuffix(" or more").split(" and "))


@pytest.mark.skipif(
    torch.cuda.is_available() or torch.backends.mps.is_available(), reason="there is a GPU"
)
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("trainer.accelerator=cuda", "accelerator=cuda: not on this machine; available: cpu$"),
        ("trainer.accelerator=gpu", "accelerator=gpu: not on this machine; available: cpu$"),
        ("trainer.precision=16-mixed optimizer=adam", "16-mixed: needs a GPU; available: cpu; "),
        ("trainer.device=1", "trainer.device=1: no such device; the last one here is 0"),
    ],
)
def test_missing_devices_are_refused(overrides: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_run(None, *overrides.split())
