"""``python -m nst_exp.weights`` and the presets that it reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from weight_helpers import NAME

from nst_exp.app.weights_command import main
from nst_exp.config.schema import Backbone, InputConvention, SourceKind
from nst_exp.utils import paths
from nst_exp.utils.errors import ConfigError
from nst_exp.weights import cache
from nst_exp.weights.presets import preset_names, read_preset
from tests.faults.server import FaultyServer


@pytest.fixture
def presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of presets."""
    monkeypatch.setattr(paths, "CONFIGS", tmp_path / "configs")
    folder = tmp_path / "configs" / "backbone"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def small(presets: Path, backbone: Backbone) -> str:
    """A preset whose weights are on the local server."""
    source = backbone.sources[0]
    (presets / "small.yaml").write_text(
        f"name: {NAME}\nsources:\n  - url: {source.url}\n    sha256: {source.sha256}\n"
        "    credit: the authors\n"
    )
    return "small"


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_can_be_read(name: str) -> None:
    assert read_preset(name).name or name == "torchvision"  # which is given a name by the user


def test_the_default_preset() -> None:
    vgg16 = read_preset("vgg16")
    assert vgg16.input is InputConvention.caffe
    assert [source.kind for source in vgg16.sources] == [SourceKind.wheel]
    assert vgg16.style_layers == [f"relu{block}_1" for block in range(1, 6)]


def test_presets_build_on_each_other(presets: Path) -> None:
    (presets / "base.yaml").write_text("defaults: [schema, _self_]\nname: vgg19\npool: average\n")
    (presets / "other.yaml").write_text(
        "# @package backbone\ndefaults:\n  - /backbone/base\n  - /init: noise\n  - _self_\n"
        "pool: max\n"
    )
    other = read_preset("other")
    assert other.name == "vgg19"
    assert other.pool.value == "max"


def test_bad_presets(presets: Path) -> None:
    (presets / "typo.yaml").write_text("nam: vgg19\n")
    with pytest.raises(ConfigError, match=r"typo\.yaml: .*'nam'"):
        read_preset("typo")
    (presets / "broken.yaml").write_text("name: [\n")
    with pytest.raises(ConfigError, match=r"broken\.yaml: "):
        read_preset("broken")
    (presets / "loop.yaml").write_text("defaults: [loop]\n")
    with pytest.raises(ConfigError, match="builds on itself"):
        read_preset("loop")
    with pytest.raises(ConfigError, match="did you mean 'typo'"):
        read_preset("tipo")


def test_fetch_list_verify(
    small: str, server: FaultyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list"]) == 0
    assert "nothing cached" in capsys.readouterr().out
    assert main(["verify", small]) == 4
    assert main(["fetch", small]) == 0
    assert main(["fetch", small]) == 0
    assert len(server.ranges) == 1
    assert "small: cache " in capsys.readouterr().out
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    assert "2.9 MB" in listed
    assert f"from {server.url}; the authors" in listed
    assert main(["verify", small]) == 0
    assert capsys.readouterr().out.startswith("ok ")
    path = next(cache.entries())
    path.write_bytes(path.read_bytes()[:-1] + b"\x00\x00")
    assert main(["verify"]) == 4
    assert f"damaged  {path}: its SHA-256 is" in capsys.readouterr().out


def test_fetch_goes_on_after_a_failure(
    small: str, presets: Path, server: FaultyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    (presets / "gone.yaml").write_text(f"name: {NAME}\n")
    assert main(["fetch", "gone", small]) == 4
    captured = capsys.readouterr()
    assert "error: backbone.name=squeezenet1_1: no weights" in captured.err
    assert "small: http" in captured.out


def test_unknown_preset_before_any_download(
    small: str, server: FaultyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fetch", small, "smal"]) == 2
    assert "did you mean 'small'" in capsys.readouterr().err
    assert server.ranges == []
