"""The lock of a folder."""

import logging
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock
from helpers_run import tiny_run

from nst_exp.results.lock import LOCK, FolderLocked, check_free, folder_lock
from nst_exp.utils.errors import OutputError

HOLD = """
import sys, time
from pathlib import Path
from nst_exp.results.lock import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_second_process_is_refused_and_the_first_one_named(tmp_path: Path) -> None:
    tiny_run(tmp_path)
    (tmp_path / "result.json").write_text('{"process": {"pid": 12, "host": "studio"}}')
    before = (tmp_path / "result.json").read_bytes()
    with (
        folder_lock(tmp_path),
        pytest.raises(FolderLocked, match=r"process \(process 12 on studio\) is using"),
    ):
        tiny_run(tmp_path, "overwrite=true")
    assert (tmp_path / "result.json").read_bytes() == before
    check_free(tmp_path)  # free again


def test_killed_process_releases_the_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(FolderLocked):
            check_free(tmp_path)
        process.kill()
    check_free(tmp_path)


def test_waiting_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = FileLock(tmp_path / LOCK, thread_local=False)
    other.acquire()
    threading.Timer(0.3, other.release).start()
    with caplog.at_level(logging.INFO, "nst_exp"), folder_lock(tmp_path, timeout=10):
        assert not other.is_locked
    assert caplog.messages == [f"{tmp_path}: waiting for another process, 10 s at most"]


def test_checking_creates_nothing(tmp_path: Path) -> None:
    check_free(tmp_path / "new")
    check_free(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"^out=.*: cannot be written"):
        folder_lock(tmp_path / "file").__enter__()
