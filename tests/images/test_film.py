"""Films of images, read back."""

from pathlib import Path

import numpy as np
import pytest
from helpers_run import tiny_run
from PIL import Image

from nst_exp.app.api import stylize
from nst_exp.config.schema import Config
from nst_exp.images.film import MOST_FRAMES, write_film
from nst_exp.images.validate import file_problems
from nst_exp.utils.errors import ConfigError, OutputError


@pytest.fixture
def frames(tmp_path: Path) -> list[Path]:
    """Nine images that become redder; the first four are of a smaller level."""
    paths = [tmp_path / f"step_{number:06d}.png" for number in range(9)]
    for number, path in enumerate(paths):
        size = (17, 12) if number < 4 else (34, 23)
        Image.new("RGB", size, (25 * number, 100, 0)).save(path)
    return paths


@pytest.mark.parametrize("suffix", ["gif", "WEBP"])
def test_animation(frames: list[Path], suffix: str) -> None:
    path = frames[0].with_name(f"film.{suffix}")
    write_film(frames, path)
    with Image.open(path) as film:
        assert (film.format, film.size, film.n_frames) == (suffix.upper(), (34, 23), 9)
        assert film.info["loop"] == 0
        durations, reds = [], []
        for number in range(9):
            film.seek(number)
            reds.append(film.convert("RGB").getpixel((5, 5))[0])
            durations.append(film.info["duration"])
        assert durations == [500] * 8 + [2000]
        assert np.allclose(reds, range(0, 225, 25), atol=3)


def test_mp4(frames: list[Path]) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = frames[0].with_name("film.mp4")
    write_film(frames, path)
    reader = ffmpeg.read_frames(str(path))
    about = next(reader)
    assert about["source_size"] == (34, 22)  # even sides
    reds = [frame[0] for frame in reader]
    assert np.allclose(reds, [*range(0, 225, 25), 200, 200, 200], atol=5)  # held for two seconds


def test_most_frames_are_evenly_spaced(frames: list[Path]) -> None:
    path = frames[0].with_name("film.gif")
    write_film([frames[0], *frames[4:6] * 300, frames[8]], path)
    with Image.open(path) as film:
        assert film.n_frames <= MOST_FRAMES
        assert film.info["duration"] == 40
        film.seek(film.n_frames - 1)
        assert film.convert("RGB").getpixel((5, 5))[0] == 200


def test_what_ffmpeg_refuses_is_one_line(
    frames: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no x264")

    monkeypatch.setattr(ffmpeg, "write_frames", refuse)
    with pytest.raises(OutputError, match=r"^film=film.mp4: cannot be written: .*no x264"):
        write_film(frames, frames[0].with_name("film.mp4"))


def test_missing_extra_is_named_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nst_exp.images.validate.find_spec", lambda _: None)
    (problem,) = file_problems(Config(film="a.mp4"))
    assert problem == "film=a.mp4: pip install 'nst-exp[film]' for MP4, or use film=a.gif"


def test_run_makes_its_film_also_when_asked_for_later(tmp_path: Path) -> None:
    pyramid = ["resolution.pyramid=true", "resolution.sizes=[24,48]", "logging.image_every=1"]
    tiny_run(tmp_path, *pyramid)
    for name in ("a.gif", "b.webp"):
        tiny_run(tmp_path, *pyramid, f"film={name}")
        with Image.open(tmp_path / name) as film:
            assert film.size == (48, 32)
            assert 2 <= film.n_frames <= 6  # equal ones become one
    tiny_run(tmp_path, "overwrite=true")
    assert not (tmp_path / "b.webp").exists()
    with pytest.raises(ConfigError, match=r"^film=a.gif: is written into the run's folder"):
        stylize(film="a.gif")
