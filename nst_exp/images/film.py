"""A film of images: MP4 by ffmpeg, GIF and animated WebP by Pillow."""

import io
import tempfile
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from PIL import Image

from nst_exp.utils.atomic_files import write_bytes_atomically
from nst_exp.utils.errors import OutputError, reason_of

SUFFIXES = (".gif", ".mp4", ".webp")
MOST_FRAMES = 240
SECONDS = 8  # that the frames last, unless they are very few or very many
SLOWEST, FASTEST = 2, 25  # frames per second
LAST_SECONDS = 2  # of the last frame


def write_film(frames: Sequence[Path], path: Path) -> None:
    """Write a film of image files, each at the size of the last one.

    Of more than 240 files it takes as many, evenly spaced.

    Args:
        frames: At least one image file.
        path: The film; its suffix, one of SUFFIXES, is the format. MP4 needs imageio-ffmpeg.

    Raises:
        OutputError: If the film cannot be written.
    """
    count = min(len(frames), MOST_FRAMES)
    picked = [frames[round(n * (len(frames) - 1) / max(count - 1, 1))] for n in range(count)]
    with Image.open(picked[-1]) as last:
        size = last.size
    rate = min(max(round(count / SECONDS), SLOWEST), FASTEST)
    try:
        if path.suffix.lower() == ".mp4":
            data = _mp4(_read(picked, (size[0] // 2 * 2, size[1] // 2 * 2)), rate)
        else:
            data = _animation(_read(picked, size), path.suffix.lower(), rate, count)
    except (OSError, ValueError) as error:
        raise OutputError(f"film={path.name}: cannot be written: {reason_of(error)}") from error
    write_bytes_atomically(path, data)


def _read(frames: Sequence[Path], size: tuple[int, int]) -> Iterator[Image.Image]:
    for frame in frames:
        with Image.open(frame) as image:
            yield image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _animation(frames: Iterator[Image.Image], suffix: str, rate: int, count: int) -> bytes:
    encoded = io.BytesIO()
    next(frames).save(
        encoded,
        Image.registered_extensions()[suffix],
        save_all=True,
        append_images=frames,
        duration=[*[1000 // rate] * (count - 1), 1000 * LAST_SECONDS],
        loop=0,
        quality=90,  # of WebP
    )
    return encoded.getvalue()


def _mp4(frames: Iterator[Image.Image], rate: int) -> bytes:
    import imageio_ffmpeg  # the extra "film"

    with tempfile.TemporaryDirectory() as folder:
        path, first = Path(folder) / "film.mp4", next(frames)
        # Even sides and 4:2:0 are what every player can show.
        writer = imageio_ffmpeg.write_frames(
            str(path), first.size, fps=rate, quality=8, macro_block_size=2
        )
        writer.send(None)
        frame = first
        for frame in chain([first], frames):
            writer.send(frame.tobytes())
        for _ in range(rate * LAST_SECONDS - 1):
            writer.send(frame.tobytes())
        writer.close()
        return path.read_bytes()
