"""Atomic files: what is left after failures, full disks, signals and kills."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from nst_exp.utils.atomic_files import (
    disk_refusal,
    remove_leftovers,
    write_atomically,
    write_bytes_atomically,
    write_text_atomically,
)
from nst_exp.utils.errors import OutputError
from nst_exp.utils.signals import SignalReceived

FULL = OSError(28, "No space left on device")


def fail_with(error: BaseException) -> Callable[..., None]:
    """Return a function that raises an error."""

    def fail(*_: object) -> None:
        raise error

    return fail


def hide(error: BaseException) -> Callable[[BinaryIO], None]:
    """Return a writer that hides an error behind another one, as torch.save does."""

    def write(stream: BinaryIO) -> None:
        stream.write(b"half")
        try:
            raise error
        except BaseException:
            raise RuntimeError("enforce fail at inline_container.cc")  # noqa: B904

    return write


def run_code(code: str, folder: Path) -> str:
    """Run Python code in a process of its own, and return what it prints."""
    code = f"import os, pathlib, resource; from nst_exp.utils.atomic_files import *\n{code}"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("write", "raised", "message"),
    [
        (fail_with(KeyboardInterrupt("x")), KeyboardInterrupt, "x"),
        (fail_with(ZeroDivisionError("x")), ZeroDivisionError, "x"),
        (hide(SignalReceived(2)), SignalReceived, "SIGINT"),
        (
            hide(FULL),
            OutputError,
            r"/x: cannot be written: No space left on device \(\d.* MB free\)",
        ),
    ],
)
def test_a_failure_leaves_the_old_file_and_nothing_else(
    write: Callable[[BinaryIO], None], raised: type[BaseException], message: str, tmp_path: Path
) -> None:
    write_bytes_atomically(tmp_path / "x", b"good")
    with pytest.raises(raised, match=message):
        write_atomically(tmp_path / "x", write)
    assert (tmp_path / "x").read_bytes() == b"good"
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_only_errors_of_the_disk_are_a_refusal(tmp_path: Path) -> None:
    assert "make room" in (disk_refusal(FULL, tmp_path) or "")
    assert disk_refusal(FileNotFoundError(2, "no such file"), tmp_path) is None
    assert disk_refusal(RuntimeError("No space left on device"), tmp_path) is None


def test_a_really_full_disk(tmp_path: Path) -> None:
    """RLIMIT_FSIZE: for the process, files end at 10 kB."""
    write_bytes_atomically(tmp_path / "x", b"good")
    code = (
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
        ("folder", "Is a directory"),
        ("file/x", "Not a directory"),
        ("none/x", "there is no folder {}/none"),
        pytest.param(
            "closed/x",
            "Permission denied; choose a folder that you may write to",
            marks=pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere"),
        ),
    ],
)
def test_places_that_cannot_be_written(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "closed").mkdir(mode=0o500)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OutputError) as caught:
        write_text_atomically(tmp_path / name, "")
    assert str(caught.value) == f"{tmp_path / name}: cannot be written: {reason.format(tmp_path)}"
    assert sorted(tmp_path.iterdir()) == before


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
    code = "write_atomically(pathlib.Path('x'), lambda stream: os.kill(os.getpid(), 9))"
    run_code(code, tmp_path)
    (tmp_path / "keep.tmp").touch()
    assert len(list(tmp_path.iterdir())) == 2
    remove_leftovers(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["keep.tmp"]
