"""Labeled pictures: each is loaded as a person sees it, or refused in one line.

First by ``load_image`` alone, then some of them by the whole program, together with pictures that
are too small or too narrow for the network.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

from tests.faults import children
from tests.faults.labeled import Labeled
from tests.faults.outcome import Outcome, part
from tests.faults.picture_files import encoded, noise
from tests.faults.pictures_right import right
from tests.faults.pictures_wrong import wrong
from tests.faults.trials import in_children

# Files of the catalog that the whole program is given, too; pipes and links come by their names.
GIVEN = (
    *("directory", "dangling link", "loop", "FIFO", "/dev/zero", "empty.jpg", "lfs.jpg", "404.jpg"),
    *("drawing.svg", "document.pdf", "half.jpg", "half.png", "half.deflate.tif", "0x8.png"),
    *("14000x14000.png", "zTXt bomb.png", "float.tif", "signed.tif"),
)
T = TypeVar("T")
VGG = ["backbone=vgg16", "backbone.weights=random"]


@dataclass(frozen=True)
class Command:
    """Arguments of the program, and what it must say before it ends."""

    arguments: Sequence[str]
    words: Sequence[str]
    code: int = 2


def torture(share: float, folder: Path) -> Outcome:
    """Full number: about 380 files and 35 commands."""
    outcome = Outcome(
        "labeled pictures: damaged, strange, hostile, or right in an unusual way",
        "the pixels that a person sees, or exit code 2 and one line with key, path and reason",
    )
    for name in ("right", "wrong", "runs"):
        (folder / name).mkdir()
    good, bad = list(right(folder / "right")), list(wrong(folder / "wrong"))
    _load(outcome, good + bad, share, folder)
    outcome.notes.append(f"{len(good)} to be loaded, {len(bad)} to be refused")
    if all(file.name != "unreadable" for file in bad):
        outcome.notes.append("no unreadable file, since root reads every one")
    commands = _some([*_of_files(good + bad), *_of_sizes(folder)], share, 2)
    children.prepare()
    for number, command in enumerate(commands):
        broken = _broken(command, folder / "runs", number)
        outcome.expect(not broken, f"{' '.join(command.arguments)}: {broken}")
    outcome.notes.append(f"{len(commands)} through the whole program")
    return outcome


def _some(things: Sequence[T], share: float, seed: int) -> list[T]:
    """The same ones for the same share, in their order."""
    chosen = random.Random(seed).sample(
        range(len(things)), min(len(things), part(len(things), share))
    )
    return [things[index] for index in sorted(chosen)]


def _load(outcome: Outcome, files: Sequence[Labeled], share: float, folder: Path) -> None:
    chosen = _some(files, share, 1)
    slowest = 0.0
    for ending in in_children(lambda i: chosen[i].broken(), range(len(chosen)), folder, batch=60):
        file = chosen[ending.number]
        printed = f"printed {ending.said!r}" if ending.said else ""
        broken = ending.lost or ending.result or printed
        outcome.expect(not broken, f"{Path(file.path).parent.name}/{file.name!r}: {broken}")
        slowest = max(slowest, ending.seconds)
    outcome.notes.append(f"slowest file {slowest:.1f} s")


def _of_files(files: Sequence[Labeled]) -> Iterator[Command]:
    by_name = {file.name: file for file in files}
    for index, name in enumerate(GIVEN):
        file, key = by_name[name], ("content", "style")[index % 2]
        words = ["name one picture in it"] if name == "directory" else file.words
        yield Command([f"{key}={file.path}"], [f"error: {key}={file.path}: ", *words])
    two = [f"content={by_name['empty.jpg'].path}", f"style={by_name['half.png'].path}"]
    yield Command(two, [f"error: {argument}: " for argument in two])
    first = f"init.file={by_name['text.jpg'].path}"
    yield Command(["init=file", first], [f"error: {first}: it is a text file"])
    yield Command([f"content={by_name['a near name'].path}"], ["no such file", "'photo.png'"])
    yield Command(["content="], ["error: content=: ", "name an image file"])
    # What is right must come through, or everything above could be said of any file.
    for name, word in [("rgb.png", "16-bit"), ("cmyk.jpg", "CMYK"), ("6.jpg", "")]:
        path = by_name[name].path
        said = f"warning: content={path}: " if word else "result: "
        yield Command([f"content={path}", "size=24", "steps=1"], [said, word], 0)


def _of_sizes(folder: Path) -> Iterator[Command]:
    def picture(width: int, height: int) -> str:
        path = folder / f"{width}x{height}.png"
        path.write_bytes(encoded(noise(width, height), "PNG"))
        return str(path)

    wide, narrow, square = picture(2000, 1), picture(8, 10_000), picture(64, 64)
    few = "pixels are too few for these layers, which need {} on the shorter side"
    nine, sixteen = few.format(9), few.format(16)
    both = [f"content={square}", f"style={square}"]
    area = "resolution.size_mode=area"
    yield Command([f"content={wide}"], ["error: content: 48x1 " + nine])
    yield Command([f"content={narrow}"], ["error: content: 1x48 " + nine])
    yield Command([f"style={wide}"], ["error: style: 48x1 " + nine, "resolution.style_size"])
    yield Command([f"content={narrow}", area], ["error: content: 1x1697 " + nine])
    yield Command([*both, "size=8"], ["error: content: 8x8 " + nine])
    yield Command([*both, "size=9", "steps=1"], ["result: "], 0)
    yield Command([*both, "resolution.style_scale=0.1"], ["error: style: 5x5 " + nine])
    yield Command([*both, *VGG, "size=15"], ["error: size=15: relu5_1 needs at least 16 pixels"])
    yield Command([f"content={picture(64, 48)}", *VGG, "size=20"], ["content: 20x15 " + sixteen])
    levels = ["resolution.pyramid=true", "resolution.min_size=6"]
    yield Command([*both, *levels], ["error: content: 6x6 " + nine])


def _broken(command: Command, folder: Path, number: int) -> str:
    """Run the command; what is wrong with its end, or ``""``."""
    place = folder / str(number)
    place.mkdir()
    arguments = [*children.TINY, "logging.tensorboard=false", *command.arguments]
    child = children.run(arguments, folder / f"{number}.txt", 60.0, folder=place)
    text = child.text()
    lines = [line for line in text.splitlines() if not line.startswith("    ")]
    if child.code != command.code:
        return f"exit code {child.code}, not {command.code}: {text[-300:]!r}"
    if "Traceback" in text:
        return f"a traceback: {text[-300:]!r}"
    if missing := [word for word in command.words if word not in text]:
        return f"{missing} is not said in {text[-300:]!r}"
    pictures = [path for path in place.rglob("image.*") if path.is_file()]
    if command.code == 0:
        for path in pictures:
            with Image.open(path) as image:
                image.load()
        return "" if pictures else "no picture was written"
    errors = sum(word.startswith("error: ") for word in command.words)
    if len(lines) != max(1, errors) or not all(line.startswith("error: ") for line in lines):
        return f"not one line for each error: {text[-300:]!r}"
    return f"a picture was written: {pictures}" if pictures else ""
