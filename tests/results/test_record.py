"""The record of a run, and which folders a run may use."""

import functools
import json
from pathlib import Path

import pytest

from nst_exp.config.schema import LBFGS, Config, LevelSettings, Pool, Statistic
from nst_exp.results.record import Record, compute_fingerprint, read_record
from nst_exp.results.run_folder import (
    check_compatible,
    describe_differences,
    open_folder,
    record_failure,
)
from nst_exp.utils.errors import ConfigError

HASHES = ["a", "b"]  # of content and style


@pytest.mark.parametrize(
    ("key", "value", "differs"),
    [
        ("seed", 1, True),
        ("optimizer", LBFGS(history=3), True),
        ("backbone.pool", Pool.l2, True),
        ("loss.tv.channel_std", [1.0, 1.0, 2.0], True),
        ("loss.style.statistic", Statistic.wasserstein2, True),
        ("out", "there", False),
        ("overwrite", True, False),
        ("logging.progress", False, False),
        ("figure.inputs", ["content"], False),
    ],
)
def test_fingerprint_depends_on_keys_that_change_the_image(
    key: str, value: object, differs: bool
) -> None:
    config = Config()
    *path, name = key.split(".")
    setattr(functools.reduce(getattr, path, config), name, value)
    before, after = (compute_fingerprint(given, ["a", "b"]) for given in (Config(), config))
    assert (before != after) == differs
    assert len({before, *(compute_fingerprint(Config(), ids) for ids in ("ba", "ac"))}) == 3


def test_record_is_written_completely(tmp_path: Path) -> None:
    record = Record(tmp_path, Config(content="ü.jpg"), overrides=["beta=5"], fingerprint="f")
    record.seconds = 1.5
    record.save("running")
    assert "ü.jpg" in (tmp_path / "result.json").read_text(encoding="utf-8")
    content = read_record(tmp_path)
    assert content.items() >= {"status": "running", "overrides": ["beta=5"], "seconds": 1.5}.items()
    assert "losses" not in content
    assert content["config"]["init"]["kind"] == "content"
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_failure_is_recorded_and_a_finished_run_kept(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    record_failure(tmp_path, Config(), ConfigError("first"), ["beta=5"])
    content = read_record(tmp_path)
    assert (content["status"], content["error"]) == ("failed", "ConfigError: first")
    assert (content["overrides"], content["config"]["beta"]) == (["beta=5"], Config().beta)
    path.write_text(json.dumps({"status": "interrupted", "fingerprint": "x", "step": 3}))
    record_failure(tmp_path, Config(), ConfigError("later"))
    kept = {"fingerprint": "x", "step": 3}  # its checkpoint stays valid
    assert read_record(tmp_path) == kept | {"status": "failed", "error": "ConfigError: later"}
    done = json.dumps({"status": "done", "config": {"image": "a.png"}})
    path.write_text(done)
    (tmp_path / "a.png").touch()
    record_failure(tmp_path, Config(), ConfigError("later"))
    assert path.read_text() == done


def test_same_run_is_resumed_and_another_one_refused(tmp_path: Path) -> None:
    record_failure(tmp_path, Config(), ConfigError("no such file"))
    assert open_folder(tmp_path, Config(), HASHES) == {}  # it failed before it began
    inputs = {"content": {"sha256": "a"}, "style": {"sha256": "b"}}
    fingerprint = compute_fingerprint(Config(), HASHES)
    Record(tmp_path, Config(), fingerprint=fingerprint, inputs=inputs).save("interrupted")
    before = (tmp_path / "result.json").read_bytes()
    assert open_folder(tmp_path, Config(), HASHES)["status"] == "interrupted"
    assert open_folder(tmp_path, Config(out="x", panel="B"), HASHES)
    layers = Config()
    layers.loss.style.layers = ["relu1_1", "relu2_1"]
    for config, hashes, made in (
        (Config(steps=20, beta=0.5), HASHES, "beta=5 instead of 0.5, steps=150 instead of 20"),
        (layers, HASHES, "loss.style.layers=[] instead of [relu1_1,relu2_1]"),
        (Config(), ["a", "c"], "another image in the file of style"),
        (Config(style=["c"]), ["a", "c"], "style=starry_night instead of c"),
        (
            Config(content="c", alpha=2, beta=2, seed=2, steps=2, size=64),
            HASHES,
            "content=summer_palace instead of c, alpha=1 instead of 2, beta=5 instead of 2, "
            "steps=150 instead of 2, 2 more",
        ),
    ):
        with pytest.raises(ConfigError) as caught:
            open_folder(tmp_path, config, hashes)
        assert str(caught.value) == (
            f"out={tmp_path}: holds another run (status interrupted), made with {made}; give "
            "another out=DIR, or overwrite=true to start again"
        )
    assert (tmp_path / "result.json").read_bytes() == before


def test_update_that_added_a_key_to_level_settings_is_named(tmp_path: Path) -> None:
    config = Config()
    config.resolution.levels = [LevelSettings(size=384, steps=2)]
    Record(tmp_path, config, fingerprint="of another version").save("interrupted")
    record = read_record(tmp_path)
    del record["config"]["resolution"]["levels"][0]["tile"]
    made = describe_differences(record, config, HASHES)
    assert made == "another version of nst_exp, which lacks resolution.levels[0].tile"
    config.resolution.levels[0].steps = 3
    made = describe_differences(record, config, HASHES)
    assert made == "resolution.levels[0].steps=2 instead of 3"


def test_overwrite_removes_only_files_of_the_run(tmp_path: Path) -> None:
    inputs = {"content": {"path": "x", "copy": "inputs/content.jpg"}, "style": {"path": "y"}}
    Record(tmp_path, Config(image="out.png"), fingerprint="f", inputs=inputs).save("done")
    written = ["out.png", "last.ckpt", "losses.csv", "events.out.tfevents.1.x"]
    written += ["snapshots/step_000005.png", "inputs/content.jpg"]
    other = ["image.png", "notes.txt", "snapshots/mine.png", "inputs/style.jpg"]
    for name in written + other:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert open_folder(tmp_path, Config(overwrite=True), HASHES) == {}
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == set(other)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "\x00"])
def test_folder_with_files_and_no_record_is_refused(tmp_path: Path, text: str | None) -> None:
    name = "image.png" if text is None else "result.json"
    (tmp_path / name).write_text(text or "")
    assert read_record(tmp_path) == {}
    with pytest.raises(
        ConfigError, match=f"^out=.* holds files of no recorded run, such as {name}"
    ):
        check_compatible(tmp_path, Config(), HASHES)
    assert open_folder(tmp_path, Config(overwrite=True), HASHES) == {}
    assert (tmp_path / name).exists()


def test_files_from_before_the_record_do_not_matter(tmp_path: Path) -> None:
    """Hydra writes its files before the run; a killed process leaves temporary files."""
    (tmp_path / ".hydra").mkdir()
    for name in (".lock", "nst_exp.log", ".nst-1.tmp"):
        (tmp_path / name).touch()
    assert open_folder(tmp_path, Config(), HASHES) == {}
    assert check_compatible(tmp_path / "a", Config(), HASHES) == {}
    assert not (tmp_path / "a").exists()
