"""Sweeps over the images of a folder, and over pairs of values."""

import json
from pathlib import Path

import pytest
from helpers_run import TINY, picture, records
from hydra.core.override_parser.overrides_parser import OverridesParser

from nst_exp.app.overrides import check_arguments
from nst_exp.report.settings import names_of_files

NAMES = ("img10.jpg", "img2.jpg", "my cat, old.png")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder of images, with other files in it, below the working directory."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(NAMES):
        picture(folder / name, (48, 32), number)
    (folder / "notes.txt").touch()
    (folder / ".hidden.png").touch()
    return folder


@pytest.mark.parametrize(
    ("typed", "swept"),
    [
        ("photos", "'photos/img2.jpg','photos/img10.jpg','photos/my cat, old.png'"),
        ("photos/", "'photos/img2.jpg','photos/img10.jpg','photos/my cat, old.png'"),
        ("photos/*.jpg", "'photos/img2.jpg','photos/img10.jpg'"),
        ("photos/*.jpg,chelsea", "'photos/img2.jpg','photos/img10.jpg',chelsea"),
        ("chelsea,photos/[m]*", "chelsea,'photos/my cat, old.png'"),
        ("photos/none*", "photos/none*"),
        ("'photos/*.jpg'", "'photos/img2.jpg','photos/img10.jpg'"),
    ],
)
@pytest.mark.usefixtures("photos")
def test_folder_and_pattern_are_the_images(typed: str, swept: str) -> None:
    for key in ("content", "style"):
        assert check_arguments(["-m", f"{key}={typed}"]) == ["--multirun", f"{key}={swept}"]
    kept = check_arguments(["-m", "images=photos/*.jpg", "style=[photos/*.jpg]"])
    assert kept[1:] == ["images=photos/*.jpg", "style=[photos/*.jpg]"]


@pytest.mark.parametrize("typed", ["own", "own/*", "o*/?*.jpg"])
@pytest.mark.usefixtures("photos")
def test_names_keep_their_signs(typed: str, tmp_path: Path) -> None:
    names = ["a (1).jpg", "it's.jpg", "1e3.jpg", "ü,x.jpg", "end\\'.jpg"]
    (tmp_path / "own").mkdir()
    for name in names:
        (tmp_path / "own" / name).touch()
    parser = OverridesParser.create()
    (_, content) = check_arguments(["-m", f"content={typed}"])
    jobs = parser.parse_override(content).sweep_string_iterator()
    found = [parser.parse_override(f"content={job}").value() for job in jobs]
    assert sorted(found) == sorted(f"own/{name}" for name in names)


@pytest.mark.usefixtures("photos")
def test_home_is_expanded_in_patterns(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(photos.parent))
    for typed, found in (("~/photos/*.png", photos), ("~/photos", "~/photos")):
        assert check_arguments(["-m", f"content={typed}"])[1].endswith(f"'{found}/{NAMES[2]}'")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("content=photos", "content=photos: a folder of 3 images; name one, or add -m for a run "),
        ("style=photos/*.jpg", "style=photos/*.jpg: a pattern that matches 2 images; name one, or"),
        ("content=photos/more", "content=photos/more: it is a folder without images; name an"),
        ("-m content=photos/more", "content=photos/more: it is a folder without images; name an"),
        ("pair=content,style", "pair=content,style: only for a sweep; add -m\n"),
        (
            "-m content=photos style=chelsea,starry_night pair=content,style",
            "pair=content,style: content has 3 values, style has 2 values; give each key the same",
        ),
        (
            "-m content=photos pair=content,style",
            "pair=content,style: style has fewer than two values; list them, style=A,B\n",
        ),
        (
            "-m content=photos style=photos pair=content,stile",
            "pair=content,stile: stile has fewer than two values; did you mean 'style'?\n",
        ),
    ],
)
@pytest.mark.usefixtures("photos")
def test_mistakes(run_here, typed: str, said: str, tmp_path: Path) -> None:
    code, out, err = run_here(*typed.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {said}")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.slow
@pytest.mark.usefixtures("photos")
def test_pairs_vary_together_and_with_other_keys(run_here, tmp_path: Path) -> None:
    own = [text for text in TINY if not text.startswith(("content=", "style="))]
    arguments = ["-m", *own, "steps=1", "content=photos/*.jpg", "seed=0,1", "out=s", "logging=none"]
    arguments += ["init=noise,style", "pair=content,init"]
    for _ in range(2):
        assert run_here(*arguments)[0] == 0
        assert list(records(tmp_path / "s")) == [
            *("000_content=img2.jpg,seed=0,init=noise", "001_content=img2.jpg,seed=1,init=noise"),
            *("002_content=img10.jpg,seed=0,init=style", "003_content=img10.jpg,seed=1,init=style"),
        ]
    record = records(tmp_path / "s")["002_content=img10.jpg,seed=0,init=style"]
    assert (record["config"]["content"], record["config"]["seed"]) == ("photos/img10.jpg", 0)
    assert not any(text.startswith("pair=") for text in record["overrides"])
    assert json.loads((tmp_path / "s/sweep.json").read_text())["varied"][0] == "content"
    assert "img10.jpg" in (tmp_path / "s/results.csv").read_text()


def test_pairs_are_for_grids(run_here, photos: Path) -> None:
    pytest.importorskip("optuna")
    arguments = ["-m", "content=photos", "style=photos", "hydra/sweeper=optuna"]
    code, _, err = run_here(*arguments, "pair=content,style")
    assert code == 2
    assert err.startswith("error: pair=content,style: only in a grid; leave out hydra/sweeper\n")


def test_labels_are_names_of_files_unless_these_are_equal() -> None:
    assert names_of_files(["a/x.jpg", "b/y.jpg", "wave"]) == {
        **{"a/x.jpg": "x.jpg", "b/y.jpg": "y.jpg", "wave": "wave"}
    }
    assert set(names_of_files(["a/x.jpg", "b/x.jpg"]).values()) == {"a/x.jpg", "b/x.jpg"}
