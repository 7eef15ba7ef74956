"""``out=name.png`` means that file; ``~`` is the home folder in every key with a path."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers_run import TINY, picture, pixels, stop_at, tiny_run

from nst_exp import stylize
from nst_exp.app.compose import make_config
from nst_exp.app.hydra_options import split_arguments
from nst_exp.config.output import folder_of, image_of
from nst_exp.images.validate import file_problems
from nst_exp.utils.errors import ConfigError

FAST = [*TINY, "steps=2", "logging=none"]


def test_what_out_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/h")
    for out, folder, image in (
        ("a", "a", None),
        ("v1.0", "v1.0", None),
        ("a/b.png", "a/b", "a/b.png"),
        ("~/x.y.JPG", "/h/x.y", "/h/x.y.JPG"),
    ):
        assert (str(folder_of(out)), image_of(out)) == (folder, image and Path(image))


def test_image_is_at_the_place_that_out_names(run_here, tmp_path: Path) -> None:
    code, out, err = run_here(*FAST, "out=new/cat.webp")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "result: new/cat.webp"
    image, copy = tmp_path / "new/cat.webp", tmp_path / "new/cat/cat.webp"
    assert image.read_bytes() == copy.read_bytes()
    record = json.loads((tmp_path / "new/cat/result.json").read_text())
    assert (record["config"]["out"], record["config"]["image"]) == ("new/cat.webp", "cat.webp")

    image.unlink()  # the same command is done, and gives the image again
    code, out, _ = run_here(*FAST, "out=new/cat.webp")
    assert (code, out.splitlines()[0]) == (0, "already done: new/cat.webp")
    assert image.read_bytes() == copy.read_bytes()


def test_from_python(tmp_path: Path) -> None:
    result = stylize(overrides=FAST, out=tmp_path / "cat.png")
    assert (result.path, result.folder) == (tmp_path / "cat.png", tmp_path / "cat")
    assert (pixels(result.path) == np.asarray(result.image)).all()


def test_files_of_others_are_not_replaced(run_here, tmp_path: Path) -> None:
    cat = picture(tmp_path / "cat.png", (48, 32))
    before = cat.read_bytes()
    code, _, err = run_here(*FAST, "content=cat.png", "out=cat.png")
    assert (code, err) == (
        2,
        "error: out=cat.png: this file exists; give another name, or overwrite=true to replace "
        "it\n",
    )
    assert cat.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["cat.png"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("-m beta=1,2 out=a/cat.png", "out=a/cat.png: a sweep has a folder for its jobs; write "),
        ("out=cat.png image=dog.png", "image=dog.png: out=cat.png names the image; leave it out\n"),
    ],
)
def test_mistakes(run_here, typed: str, said: str, tmp_path: Path) -> None:
    code, out, err = run_here(*typed.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {said}")
    assert list(tmp_path.iterdir()) == []


def test_interrupted_run_names_the_file(
    run_here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, 0, 1)
        code, _, err = run_here(*FAST, "out=cat.png")
    assert code == 130
    assert "the image so far is cat.png; the same command with out=cat.png resumes it" in err
    assert run_here(*FAST, "out=cat.png")[0] == 0
    whole = tiny_run(tmp_path / "whole", "steps=2", "logging=none")
    assert (pixels(tmp_path / "cat.png") == pixels(whole.path)).all()


def test_home_is_expanded_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    picture(tmp_path / "a.png", (64, 64))
    (tmp_path / "w.pth").touch()
    files = ("content", "style", "content_map", "init.file")
    typed = [*(f"{key}=~/a.png" for key in files), "style_map=[~/a.png]", "init.kind=file"]
    typed += ["backbone.file=~/w.pth", "images=~", "backbone.calibration=~", "out=~/out"]
    assert list(file_problems(make_config([*typed, "backbone.normalized=true"]))) == []
    options, _ = split_arguments(["--config-dir=~", "-cd", "~"])
    assert options == {"--config-dir": str(tmp_path)}
    with pytest.raises(ConfigError, match=r"content=~/b.png: no such file"):
        raise ConfigError(list(file_problems(make_config(["content=~/b.png"]))))
