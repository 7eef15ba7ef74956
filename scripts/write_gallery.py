"""Write docs/gallery.md from folders of runs and sweeps.

    python scripts/write_gallery.py "outputs/Four styles" outputs/Beta

Each folder becomes a section: its name, the contact sheet of a sweep or the images of a run, the
command, and the credits of the images.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from nst_exp.report.entries import Report, read_report
from nst_exp.report.grid import draw_grid
from nst_exp.report.images import result_panel, shared_inputs
from nst_exp.report.settings import file_name
from nst_exp.results.record import read_json
from nst_exp.results.sweep_plan import PLAN
from nst_exp.utils.errors import NstError

DOCS = Path(__file__).resolve().parent.parent / "docs"
WIDTH = 1000  # pixels of an image on the page

INTRODUCTION = """# Gallery

Results with the commands that make them. Made from the folders of runs and sweeps by
`python scripts/write_gallery.py FOLDER...`; do not edit. Results have the licenses
of the images that they are made from.
"""


def section(folder: Path, docs: Path) -> str:
    """Write the image of a folder and return its section of the page."""
    report = read_report([folder])
    drawing = _drawing(folder, report)
    drawing.thumbnail((WIDTH, 4 * WIDTH), Image.Resampling.LANCZOS)
    target = docs / "images" / f"gallery_{file_name(folder.name.lower(), ())}.jpg"
    drawing.save(target, quality=85, optimize=True)
    inputs = [row.run.input(kind) for kind in ("content", "style") for row in report.rows]
    credit = "; ".join(dict.fromkeys(image["credit"] for image in inputs if "credit" in image))
    text = f"## {folder.name}\n\n![{folder.name}](images/{target.name})\n\n"
    text += f"```bash\n{_command(folder, report)}\n```\n"
    return text + (f"\nImages: {credit}.\n" if credit else "")


def _drawing(folder: Path, report: Report) -> Image.Image:
    sheets = sorted(folder.glob("sheet*.png"))
    if sheets:
        with Image.open(sheets[0]) as sheet:
            return sheet.convert("RGB")
    result = result_panel(report.rows[0].run, "result")
    side = max(result.image.size) if result.image else WIDTH
    return draw_grid([[*shared_inputs(report, side), result]])


def _command(folder: Path, report: Report) -> str:
    words = read_json(folder / PLAN).get("command", report.rows[0].overrides)
    own = ("out=", "images=", "logging.")
    shown = ["-m" if word == "--multirun" else word for word in words if not word.startswith(own)]
    return shlex.join(["python", "-m", "nst_exp", *shown])


def main(arguments: Sequence[str] | None = None, docs: Path = DOCS) -> int:
    parser = argparse.ArgumentParser(description="Write docs/gallery.md.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    try:
        sections = [section(folder, docs) for folder in parser.parse_args(arguments).folders]
    except NstError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    (docs / "gallery.md").write_text("\n".join([INTRODUCTION, *sections]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
