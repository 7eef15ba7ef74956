"""Suggestions, reasons of errors, hashes and the cache folder."""

import hashlib
from pathlib import Path

import pytest

from nst_exp.utils.errors import ConfigError, WeightsError, reason_of
from nst_exp.utils.hashing import require_sha256, verify_sha256
from nst_exp.utils.paths import cache_folder
from nst_exp.utils.suggest import did_you_mean


@pytest.mark.parametrize(
    ("word", "hint"),
    [("stlye", "; did you mean 'style'?"), ("STEPS", "; did you mean 'steps'?"), ("xyz", "")],
)
def test_the_nearest_word_is_suggested(word: str, hint: str) -> None:
    assert did_you_mean(word, ["style", "steps", "size"]) == hint


@pytest.mark.parametrize(
    ("error", "reason"),
    [(OSError(28, "full", "file"), "full"), (ValueError("bad"), "bad"), (KeyError(), "KeyError")],
)
def test_reason_of_an_error(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


def test_a_file_is_checked_by_its_hash_or_a_prefix(tmp_path: Path) -> None:
    path, page = tmp_path / "file", tmp_path / "page"
    path.write_bytes(b"weights")
    page.write_text("<!DOCTYPE html><title>Log in</title>")
    digest = hashlib.sha256(b"weights").hexdigest()
    assert verify_sha256(path, digest[:8]) == digest
    with pytest.raises(WeightsError, match=r"wrong content \(a web page.*SHA-256 is [0-9a-f]{16}"):
        verify_sha256(page, digest)


@pytest.mark.parametrize("sha256", ["", "0123456", "g" * 8, "0" * 65])
def test_hashes_that_prove_nothing_are_refused(sha256: str) -> None:
    assert require_sha256("ABCDEF01", "sha256") == "abcdef01"
    with pytest.raises(WeightsError, match=f"sha256='{sha256}': needs 8 to 64 hex digits"):
        require_sha256(sha256, "sha256")


def test_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NST_EXP_CACHE", "here")
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("NST_EXP_CACHE")
    assert cache_folder().name == "nst_exp"

    def no_home(*_: object, **__: object) -> Path:
        raise RuntimeError

    monkeypatch.setattr("platformdirs.user_cache_path", no_home)
    with pytest.raises(ConfigError, match="NST_EXP_CACHE: not set, and there is no home folder"):
        cache_folder()
