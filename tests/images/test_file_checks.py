"""Config keys that name files: what is refused before any work."""

import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from nst_exp.app.overrides import check_arguments
from nst_exp.config.schema import Config, InitKind
from nst_exp.images.validate import file_problems


def problems(**values: object) -> list[str]:
    """Return the lines about a good config with these keys; a double underscore is a dot."""
    config = Config()
    for key, value in values.items():
        group, _, name = key.rpartition("__")
        setattr(getattr(config, group) if group else config, name, value)
    return list(file_problems(config))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"content": "chelse"}, "content=chelse: no such file; did you mean 'chelsea'?"),
        ({"style": [""]}, "style=: is empty; name an image file, or one of summer_palace"),
        ({"content": "/"}, "content=/: it is a folder without images; name an image"),
        ({"backbone__file": "/"}, "backbone.file=/: it is a folder or a device; name a file"),
        ({"background": "rgb(256,0,0)"}, "background=rgb(256,0,0): must be an opaque color"),
        ({"out": ""}, "out=: is empty; name a folder, or leave it out"),
        ({"out": "~nobody-of-that-name"}, "there is no such user; write ./~ for a folder"),
        ({"content": "x" * 300}, "no such file"),  # too long for any file system
        ({"content": "~nobody-of-that-name/a.jpg"}, "no such file"),
        ({"init__kind": InitKind.file}, "name the image with init.file=PATH"),
        ({"init__file": "chelsea"}, "init.file=chelsea: only read with init=file"),
        ({"backbone__file": "none.pth"}, "backbone.file=none.pth: no such file; correct the path"),
        ({"backbone__file": "/"}, ".pth, .pt, .safetensors"),
        ({"image": "image.gif"}, "image=image.gif: must be a file name in .jpeg, .jpg, .png"),
        ({"image": "sub/image.png"}, "image=sub/image.png: must be a file name without a folder"),
        ({"image": "a" * 250 + ".png"}, "longer than 200 bytes; give a shorter name"),
        ({"image": "latest.png"}, "is the image so far while a run is at work"),
        ({"film": "a.avi"}, "film=a.avi: must be a file name in .gif, .mp4, .webp"),
        ({"film": "a/b.gif"}, "film=a/b.gif: must be a file name without a folder"),
        ({"film": "a.webp", "image": "a.webp"}, "film=a.webp: is the name of the result as well"),
        ({"film": "a.gif", "logging__image_every": 0}, "is made of the snapshots; use logging"),
        ({"film": "a.gif", "logging__snapshots": False}, "is made of the snapshots; use logging"),
        ({"background": "whit"}, "background=whit: must be an opaque color"),
        ({"background": "#ffffff80"}, "background=#ffffff80: must be an opaque color"),
        ({"bit_depth": 16, "image": "a.jpg"}, "bit_depth=16: image=a.jpg holds 8 bits"),
    ],
)
def test_refused(values: dict[str, object], said: str) -> None:
    found = problems(**values)
    assert any(said in line for line in found), found


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"bit_depth": 16, "image": "a.TIF"},
        {"init__kind": InitKind.file, "init__file": "chelsea"},
        {"content": "tuebingen", "stand_ins": False},
    ],
)
def test_allowed_without_the_network(
    values: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("network"))
    assert problems(**values) == []


def test_near_names_are_suggested(tmp_path: Path) -> None:
    (tmp_path / "holiday.png").touch()
    for name, images, near in [
        (f"{tmp_path}/holidy.png", None, "holiday.png"),
        ("holidy", str(tmp_path), "holiday"),
        ("Shipwrek", None, "shipwreck"),
    ]:
        (line,) = problems(style=[name], images=images)
        assert f"style={name}: no such file; did you mean '{near}'?" in line


def test_folder_of_images_must_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "none", tmp_path / "file"):
        (line,) = problems(images=str(place))
        assert line.startswith(f"images={place}: cannot be listed (")
    monkeypatch.setenv("NST_EXP_DATA", str(tmp_path / "none"))
    (line,) = problems()
    assert line.startswith(f"NST_EXP_DATA={tmp_path}/none: ")
    assert problems(images=str(tmp_path)) == []  # the key has priority


LISTED = "my photos/a (1).jpg,my photos/it's.jpg,my photos/1e3.jpg"


@pytest.mark.skipif(shutil.which("bash") is None, reason="the advice is for a shell")
def test_advised_sweep_over_files_works_when_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["a (1).jpg", "it's.jpg", "1e3.jpg"]
    Path("my photos").mkdir()
    for name in names:
        Path("my photos", name).touch()
    (problem,) = problems(content=LISTED)
    command = f"printf '%s\\n' -m {problem.partition(': -m ')[2]}"
    typed = subprocess.check_output(["bash", "-c", command], text=True).splitlines()
    *_, content = check_arguments(typed)
    parser = OverridesParser.create()
    jobs = parser.parse_override(content).sweep_string_iterator()
    found = [parser.parse_override(f"content={job}").value() for job in jobs]
    assert sorted(found) == sorted(f"my photos/{name}" for name in names)
