"""Atomic files: what is left after failures, full disks, signals and kills."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from nst_exp.utils import atomic_files
from nst_exp.utils.atomic_files import (
    disk_refusal,
    remove_leftovers,
    write_atomically,
    write_bytes_atomically,
    write_text_atomically,
)
from nst_exp.utils.errors import OutputError
from nst_exp.utils.signals import SignalReceived


def disk_full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def wraps(error: BaseException, stream: BinaryIO) -> None:
    """Hide an error behind another one, as torch.save does."""
    try:
        raise error
    except BaseException:
        raise RuntimeError("enforce fail at inline_container.cc")  # noqa: B904


def run_code(code: str, folder: Path) -> str:
    """Run Python code in a process of its own, and return what it prints."""
    root = str(Path(atomic_files.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return done.stdout


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), ZeroDivisionError(), SignalReceived(signal.SIGINT)],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_leaves_the_old_file_and_nothing_else(
    error: BaseException, tmp_path: Path
) -> None:
    def write(stream: BinaryIO) -> None:
        stream.write(b"half")
        raise error

    write_bytes_atomically(tmp_path / "x", b"good")
    with pytest.raises(type(error)):
        write_atomically(tmp_path / "x", write)
    assert (tmp_path / "x").read_bytes() == b"good"
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_disk_is_named_and_leaves_the_old_file(
    function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    write_bytes_atomically(path, b"good")
    monkeypatch.setattr(os, function, disk_full)
    with pytest.raises(OutputError) as caught:
        write_bytes_atomically(path, b"better")
    line = str(caught.value)
    assert line.startswith(f"{path}: cannot be written: No space left on device (")
    assert line.endswith(" MB free); make room or choose another folder")
    assert path.read_bytes() == b"good"
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("hidden", "raised"),
    [(OSError(28, "No space left on device"), OutputError), (SignalReceived(2), SignalReceived)],
)
def test_an_error_hidden_behind_another_one_is_found(
    hidden: BaseException, raised: type[BaseException], tmp_path: Path
) -> None:
    with pytest.raises(raised):
        write_atomically(tmp_path / "last.ckpt", lambda stream: wraps(hidden, stream))
    assert list(tmp_path.iterdir()) == []


def test_only_errors_of_the_disk_are_a_refusal(tmp_path: Path) -> None:
    assert "make room" in (disk_refusal(OSError(28, "full"), tmp_path) or "")
    assert disk_refusal(FileNotFoundError(2, "no such file"), tmp_path) is None
    assert disk_refusal(RuntimeError("No space left on device"), tmp_path) is None


def test_a_really_full_disk(tmp_path: Path) -> None:
    """RLIMIT_FSIZE: for the process, files end at 10 kB."""
    write_bytes_atomically(tmp_path / "x", b"good")
    code = (
        "import resource, pathlib; from nst_exp.utils.atomic_files import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try: write_bytes_atomically(pathlib.Path('x'), bytes(20_000))\n"
        "except OutputError as error: print(error)"
    )
    assert run_code(code, tmp_path) == "x: cannot be written: File too large\n"
    assert (tmp_path / "x").read_bytes() == b"good"
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("folder", "it is a directory"),
        ("file/x", "Not a directory"),
        ("none/x", "there is no folder {}/none"),
        ("fifo", "it is not a regular file"),
        ("n" * 256, "File name too long"),
    ],
)
def test_places_that_cannot_be_written(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OutputError) as caught:
        write_text_atomically(tmp_path / name, "")
    line = f"{tmp_path / name}: cannot be written: {reason.format(tmp_path)}"
    assert str(caught.value) == line
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match=r"Permission denied; choose a folder that you may"):
        write_text_atomically(tmp_path / "x", "")
    tmp_path.chmod(0o700)


def test_permissions_links_text_and_long_names(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text_atomically(tmp_path / "x", "{}\nβ")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640
    (tmp_path / "link").symlink_to("x")
    write_text_atomically(tmp_path / "link", "β\r\n")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "x").read_bytes() == "β\r\n".encode()
    write_text_atomically(tmp_path / ("n" * 255), "")


def test_leftovers_of_killed_writers_can_be_removed(tmp_path: Path) -> None:
    code = (
        "import os, pathlib; from nst_exp.utils.atomic_files import write_atomically;"
        "write_atomically(pathlib.Path('x'), lambda stream: os.kill(os.getpid(), 9))"
    )
    run_code(code, tmp_path)
    (tmp_path / "keep.tmp").touch()
    assert len(list(tmp_path.iterdir())) == 2
    remove_leftovers(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["keep.tmp"]
