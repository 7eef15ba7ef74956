"""A small part of each block of faults, and that the blocks notice what is broken."""

import sys
from pathlib import Path

import pytest
from helpers_run import picture
from PIL import Image

from tests.faults import images
from tests.faults.__main__ import BLOCKS, main
from tests.faults.folders import damaged, differences


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
@pytest.mark.parametrize("block", BLOCKS)
def test_promises_are_kept(
    block: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["faults", block, "--scale", "0.02"])
    code = main()
    out = capsys.readouterr().out
    assert code == 0, out
    assert f"{block}: 0 of" in out


def test_a_poor_loader_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {images.judge(number, tmp_path) for number in range(100)} == {"decoded", "refused"}
    monkeypatch.setattr(images, "load_image", lambda path, **_: Image.open(path))
    assert any("raised" in images.judge(number, tmp_path) for number in range(100))


def test_damaged_files_are_found_out(tmp_path: Path) -> None:
    whole = picture(tmp_path / "image.png", (32, 32)).read_bytes()
    files = {"result.json": '{"status": "done"}', "losses.csv": "step,total\n1,2\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert damaged(tmp_path) == []
    (tmp_path / "image.png").write_bytes(whole[:-30])
    for name, text in files.items():
        (tmp_path / name).write_text(text[:-3])
    (tmp_path / "last.ckpt").write_bytes(b"PK")
    assert len(damaged(tmp_path)) == 4


def test_another_loss_is_found_out() -> None:
    one = {"losses": {"total": 1.0}, "image.png": b"same"}
    assert differences(one, {**one, "losses": {"total": 1.0 + 1e-15}}) == ["losses"]
    assert differences(one, {**one, "snapshots/1.png": b""}) == ["snapshots/1.png"]
