"""Folders of runs and sweeps as the commands leave them, without a run."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

SIZE = (40, 30)
NASTY = """</script><script>alert("x")</script>'&"""


def color(index: int) -> tuple[int, int, int]:
    """Return the color of the image of job ``index``."""
    return (10 + 20 * (index % 11), 200 - 15 * (index % 9), 60 + 7 * (index % 13))


def write_job(
    folder: Path,
    index: int = 0,
    *,
    status: str = "done",
    image: Image.Image | None = None,
    settings: Mapping[str, Any] | None = None,
    steps: tuple[int, ...] = (),
    **record: Any,
) -> Path:
    """Write the folder of a run; ``settings`` go into its config."""
    folder.mkdir(parents=True)
    config = {
        "content": "chelsea",
        "style": "starry_night",
        "beta": 5.0,
        "size": 40,
        "steps": 10,
        "image": "image.png",
        "out": str(folder),
        "backbone": {"name": "vgg16", "weights": "pretrained", "input": "caffe"},
        "logging": {"every": 1},
        **(settings or {}),
    }
    content = {
        "status": status,
        "losses": {"total": 1.5 + index, "content": 0.5, "style": 0.25, "tv": 0.125, "x/relu": 9.0},
        "metrics": {"ssim": 0.5 + index / 100},
        "seconds": 2.5,
        "step": 10,
        "evaluations": 12,
        "width": SIZE[0],
        "height": SIZE[1],
        "config": config,
        **record,
    }
    (folder / "result.json").write_text(json.dumps(content))
    if status == "done":
        (image or Image.new("RGB", SIZE, color(index))).save(folder / "image.png")
    for step in steps:
        (folder / "snapshots").mkdir(exist_ok=True)
        Image.new("RGB", SIZE, (step, step, step)).save(folder / f"snapshots/step_{step:06d}.png")
    return folder


def write_plan(folder: Path, jobs: list[dict[str, Any]]) -> Path:
    """Write the plan of a sweep."""
    (folder / "sweep.json").write_text(json.dumps({"jobs": jobs}), encoding="utf-8")
    return folder


def write_sweep(folder: Path, values: list[dict[str, str]], **record: Any) -> Path:
    """Write a sweep with one finished job for each of ``values``."""
    jobs = []
    for index, own in enumerate(values):
        folder_of_job = write_job(folder / f"{index:03d}", index, **record)
        overrides = [f"{key}={value}" for key, value in own.items()]
        job = {"number": index, "folder": folder_of_job.name, "overrides": overrides, "values": own}
        jobs.append(job)
    return write_plan(folder, jobs)


def change_record(folder: Path, **record: Any) -> None:
    """Replace entries of a run's record."""
    path = folder / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | record))


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read the rows of ``results.csv``."""
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
