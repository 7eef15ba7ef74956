"""The command ``nst-exp-weights`` and the presets that it reads."""

import pytest

from nst_exp.app import weights_command
from nst_exp.app.weights_command import main, read_preset
from nst_exp.config.presets import groups
from nst_exp.config.schema import Backbone
from nst_exp.weights import cache
from tests.faults.server import FaultyServer


@pytest.fixture
def presets(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two presets: ``small`` has its weights on the local server, ``gone`` has no source."""
    known = {"small": backbone, "gone": Backbone(name=backbone.name)}
    monkeypatch.setattr(weights_command, "groups", lambda: {"backbone": list(known)})
    monkeypatch.setattr(weights_command, "read_preset", known.__getitem__)


@pytest.mark.parametrize("name", groups()["backbone"])
def test_every_preset_has_a_source(name: str) -> None:
    backbone = read_preset(name)
    assert backbone.name or name == "torchvision"  # whose architecture the user chooses
    assert backbone.sources or name == "torchvision"
    if backbone.fallback is not None:
        assert set(backbone.style_layers) <= set(backbone.fallback.style_layers)


@pytest.mark.usefixtures("presets")
def test_fetch_list_verify(server: FaultyServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert "nothing cached" in capsys.readouterr().out
    assert main(["verify", "small"]) == 4
    assert main(["fetch", "small"]) == 0
    assert main(["fetch", "small"]) == 0
    assert len(server.requests) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[1] == f"fetching {server.url}"
    assert "small: cache " in captured.out
    assert main(["list", "small"]) == 0
    listed = capsys.readouterr().out
    assert "2.9 MB" in listed
    assert f"from {server.url}; the authors" in listed
    assert main(["verify"]) == 0
    assert capsys.readouterr().out.startswith("ok ")
    (path,) = cache.entries()
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    assert main(["verify"]) == 4
    assert f"damaged  {path}: its SHA-256 is" in capsys.readouterr().out


@pytest.mark.usefixtures("presets")
def test_fetch_continues_after_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "gone", "small"]) == 4
    captured = capsys.readouterr()
    assert "backbone.sources is empty" in captured.err
    assert "small: http" in captured.out


def test_unknown_preset_before_any_download(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "vgg16", "vgg166"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: backbone=vgg166: no such preset; did you mean 'vgg16'?")
    assert captured.out == ""
