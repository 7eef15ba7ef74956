"""A run's folder: what is recorded, whose it is, and what may be removed from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nst_exp.config.schema import LBFGS, Config, InitKind, Pool, Statistic, TVKind
from nst_exp.config.serialize import config_as_dict
from nst_exp.results.record import Record, fingerprint, open_folder, read_record
from nst_exp.utils.errors import ConfigError, OutputError


def test_fingerprint_changes_with_all_that_decides_the_picture() -> None:
    marks = {
        fingerprint(Config(), ["a", "b"]),
        fingerprint(Config(), ["b", "a"]),
        fingerprint(Config(), ["a", "c"]),
        fingerprint(Config(seed=1), ["a", "b"]),
        fingerprint(Config(optimizer=LBFGS(history=3)), ["a", "b"]),
    }
    assert len(marks) == 5


def test_fingerprint_leaves_out_what_does_not() -> None:
    other = Config(out="there", overwrite=True)
    other.logging.progress = False
    assert fingerprint(other, ["a"]) == fingerprint(Config(), ["a"])


def test_fingerprint_does_not_know_of_figures() -> None:
    """The same picture may be a panel, be labeled otherwise, or be none."""
    other = Config(panel="B")
    other.figure.title, other.figure.label, other.figure.inset = "Figure 3", "B", True
    other.figure.inputs, other.figure.columns = ["content"], 5
    assert fingerprint(other, ["a"]) == fingerprint(Config(), ["a"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optimizer.milestones", [5]),
        ("optimizer.gamma", 0.5),
        ("backbone.map_scale", 2.0),
        ("backbone.pool", Pool.l2),
        ("loss.tv.channel_std", [1.0, 1.0, 2.0]),
        ("loss.tv.kind", TVKind.l2_nine),
        ("loss.style.statistic", Statistic.wasserstein2),
        ("init.noise_mean", [0.4]),
    ],
)
def test_fingerprint_knows_every_key_that_changes_a_picture(key: str, value: object) -> None:
    config = Config()
    *path, name = key.split(".")
    node: object = config
    for part in path:
        node = getattr(node, part)
    setattr(node, name, value)
    assert fingerprint(config, ["a"]) != fingerprint(Config(), ["a"])


def test_fingerprint_knows_another_kind_of_file() -> None:
    assert fingerprint(Config(bit_depth=16), ["a"]) != fingerprint(Config(), ["a"])


def test_config_as_dict_is_json_with_names_of_enums() -> None:
    config = Config()
    config.init.kind = InitKind.blend
    plain = json.loads(json.dumps(config_as_dict(config)))
    assert plain == config_as_dict(config)
    assert plain["init"]["kind"] == "blend"


def test_record_is_written_whole(tmp_path: Path) -> None:
    record = Record(tmp_path, Config(content="ü.jpg"), values={"fingerprint": "f"})
    record.save("running")
    text = (tmp_path / "result.json").read_text(encoding="utf-8")
    assert "ü.jpg" in text  # readable, not escaped
    assert read_record(tmp_path)["status"] == "running"
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_damaged_record_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "result.json").write_text(text)
    assert read_record(tmp_path) == {}
    assert open_folder(tmp_path, "f", "image.png", overwrite=False) == {}


def test_folder_of_the_same_run_gives_its_record(tmp_path: Path) -> None:
    Record(tmp_path, Config(), values={"fingerprint": "f"}).save("interrupted")
    assert open_folder(tmp_path, "f", "image.png", overwrite=False)["status"] == "interrupted"


def test_folder_of_another_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    Record(tmp_path, Config(), values={"fingerprint": "f"}).save("done")
    before = (tmp_path / "result.json").read_bytes()
    with pytest.raises(ConfigError, match=r"holds another run .* overwrite=true"):
        open_folder(tmp_path, "g", "image.png", overwrite=False)
    assert (tmp_path / "result.json").read_bytes() == before


def test_overwrite_removes_what_the_run_left_and_nothing_else(tmp_path: Path) -> None:
    Record(tmp_path, Config(image="out.png"), values={"fingerprint": "f"}).save("done")
    (tmp_path / "snapshots").mkdir()
    left = ["out.png", "last.ckpt", "events.out.tfevents.1.x", "snapshots/step_000005.png"]
    own = ["image.jpg", "image.png", "best.doc", "notes.txt", "snapshots/mine.png"]
    for name in left + own:
        (tmp_path / name).touch()
    assert open_folder(tmp_path, "g", "image.png", overwrite=True) == {}
    files = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert files == set(own)


@pytest.mark.parametrize("overwrite", [False, True])
def test_nothing_is_removed_from_a_folder_without_a_record(tmp_path: Path, overwrite: bool) -> None:
    """out=. in a folder of pictures must not cost one of them."""
    for name in ("image.jpg", "image.png", "events.out.tfevents.1.x"):
        (tmp_path / name).touch()
    assert open_folder(tmp_path, "f", "result.png", overwrite=overwrite) == {}
    assert len(list(tmp_path.iterdir())) == 3


def test_a_picture_that_no_run_made_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "image.png").touch()
    with pytest.raises(ConfigError, match=r"holds a file image\.png already"):
        open_folder(tmp_path, "f", "image.png", overwrite=False)
    assert open_folder(tmp_path, "f", "image.png", overwrite=True) == {}


def test_folder_is_made(tmp_path: Path) -> None:
    assert open_folder(tmp_path / "a" / "b", "f", "image.png", overwrite=False) == {}
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_folder_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        open_folder(tmp_path / "file" / "out", "f", "image.png", overwrite=False)
