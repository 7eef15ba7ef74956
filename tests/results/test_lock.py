"""One process at a time in a folder."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers_run import tiny_run

from nst_exp.results.lock import LOCK, FolderLocked, check_free, folder_lock
from nst_exp.results.record import record_failure
from nst_exp.utils.errors import OutputError

HOLD = """
import sys, time
from pathlib import Path
from nst_exp.results.lock import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("claimed", flush=True)
    time.sleep(60)
"""


def test_second_claim_is_refused_and_says_by_whom(tmp_path: Path) -> None:
    with folder_lock(tmp_path), pytest.raises(FolderLocked) as caught, folder_lock(tmp_path):
        pass
    assert str(caught.value).startswith(f"out={tmp_path}: another process is at work there; ")
    (tmp_path / "result.json").write_text('{"process": {"pid": 12, "host": "studio"}}')
    with (
        folder_lock(tmp_path),
        pytest.raises(FolderLocked, match=r"process \(process 12 on studio\) is at"),
    ):
        check_free(tmp_path)
    with folder_lock(tmp_path):  # free again
        pass


def test_killed_process_leaves_the_folder_free(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n"
        with pytest.raises(FolderLocked):
            check_free(tmp_path)
        process.kill()
    check_free(tmp_path)


def test_patience_is_rewarded_and_announced(tmp_path: Path) -> None:
    said: list[str] = []
    released = threading.Event()

    def hold() -> None:
        with folder_lock(tmp_path):
            released.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    while not (tmp_path / LOCK).exists():
        time.sleep(0.01)
    threading.Timer(0.3, released.set).start()
    with folder_lock(tmp_path, patience=10, say=said.append):
        assert released.is_set()
    holder.join()
    assert said == [f"{tmp_path}: waiting for another process to leave it, 10 s at most"]


def test_looking_makes_nothing(tmp_path: Path) -> None:
    check_free(tmp_path / "new")
    check_free(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match=r"^out=.*file: cannot be written"),
        folder_lock(tmp_path / "file"),
    ):
        pass


def test_run_is_refused_in_an_occupied_folder_and_leaves_the_record(tmp_path: Path) -> None:
    tiny_run(tmp_path)
    before = (tmp_path / "result.json").read_bytes()
    with folder_lock(tmp_path), pytest.raises(FolderLocked):
        tiny_run(tmp_path, "overwrite=true")
    assert (tmp_path / "result.json").read_bytes() == before


def test_only_a_run_that_has_the_folder_notes_a_failure(tmp_path: Path) -> None:
    """The job that finds its folder occupied must not call the other one failed."""
    from nst_exp.app import job as task

    task._failed(tmp_path, None, FolderLocked("out=x: another process is at work there"), None)
    assert not (tmp_path / "result.json").exists()
    record_failure(tmp_path, None, RuntimeError("anything else"))
    assert (tmp_path / "result.json").exists()
