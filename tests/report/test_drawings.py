"""Drawings: images are exact and in the right place; figures and the trade-off plot."""

from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from report_folders import change_record, color, write_job, write_sweep

from nst_exp.report import write_figures
from nst_exp.report.axes import arrange
from nst_exp.report.contact_sheet import draw_sheet
from nst_exp.report.entries import read_report
from nst_exp.report.figure import draw_figure
from nst_exp.report.grid import Panel, draw_grid
from nst_exp.report.images import result_panel, shared_inputs
from nst_exp.report.tradeoff import draw_tradeoff, find_tradeoff, pareto_front
from nst_exp.results.run_folder import read_run_folder
from nst_exp.utils.errors import OutputError

WIDTH, HEIGHT = 200, 120


def noise(width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 200, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def place(drawing: Image.Image, image: Image.Image) -> tuple[int, int]:
    """Return left and top of the one place where exactly these pixels are found."""
    figure, values = np.asarray(drawing), np.asarray(image)
    first = (figure == values[0, 0]).all(axis=2)
    found = [
        (int(left), int(top))
        for top, left in zip(*np.nonzero(first), strict=True)
        if np.array_equal(figure[top : top + image.height, left : left + image.width], values)
    ]
    assert len(found) == 1
    return found[0]


def inked(drawing: Image.Image) -> NDArray[np.bool_]:
    return (np.asarray(drawing) != 255).any(axis=2)


def test_images_are_exact_and_only_texts_are_drawn_beside_them() -> None:
    drawing = draw_grid([["", "one"], ["a", Panel("", noise())], [None, Panel("", noise(60, 180))]])
    (left, top), (other, lower) = place(drawing, noise()), place(drawing, noise(60, 180))
    assert other - left == (WIDTH - 60) / 2  # centered in the same column
    ink = inked(drawing)
    ink[top : top + HEIGHT, left : left + WIDTH] = False
    ink[lower : lower + 180, other : other + 60] = False
    assert ink[:top, left:].any()  # "one"
    assert ink[top : top + HEIGHT, :left].any()  # "a"
    assert not ink[top + HEIGHT :].any()


def test_results_are_where_their_values_say(tmp_path: Path) -> None:
    values = [{"beta": b, "style": s} for b in ("50", "0.5", "5") for s in ("wave", "chelsea")]
    report = read_report([write_sweep(tmp_path / "s", values)])
    (sheet,) = arrange(report.rows, report.varied)
    images = {row.number: noise(170, 90, seed=row.number) for row in report.rows[:-1]}
    inputs = [Panel("content", noise(170, 90, seed=9))]
    results = {n: Panel("", image) for n, image in images.items()} | {5: Panel("", None, "failed")}
    drawing = draw_sheet("s", "settings", sheet, results, inputs)
    doubled = {n: image.resize((340, 180), Image.Resampling.LANCZOS) for n, image in images.items()}
    places = {number: place(drawing, image) for number, image in doubled.items()}
    assert places[2][1] == places[4][1] == places[0][1] < places[3][1] == places[1][1]
    assert places[2][0] == places[3][0] < places[4][0] < places[0][0] == places[1][0]


def test_shared_inputs_are_those_that_were_used(tmp_path: Path) -> None:
    entry = {}
    for key in ("content", "style"):
        path = tmp_path / f"{key}.png"
        Image.new("RGB", (60, 40), "red").save(path)
        entry[key] = {"path": str(path), "sha256": sha256(path.read_bytes()).hexdigest()}
    sweep = write_sweep(tmp_path / "sweep", [{"beta": "1"}, {"beta": "2"}], inputs=entry)
    Image.new("RGB", (60, 40), "green").save(tmp_path / "style.png")
    content, style = shared_inputs(read_report([sweep]), 50)
    assert content.image is not None
    assert content.image.getpixel((5, 5)) == (255, 0, 0)
    assert style.image is None  # another file has its name now


def write_panel(folder: Path, **options: Any) -> Path:
    """Write a run that is a panel of a figure and saved its inputs."""
    figure = {"title": "A title", "columns": 2, "inputs": [], "inset": False}
    settings = {"figure": figure | options.pop("figure", {})} | options.pop("settings", {})
    inputs = options.pop("inputs", {})
    record = {
        kind: {"path": f"/gone/{kind}_file.jpg", "sha256": kind, "copy": f"inputs/{kind}.jpg"}
        for kind in inputs
    }
    write_job(folder, settings=settings, inputs=record, **options)
    for kind, image in inputs.items():
        (folder / "inputs").mkdir(exist_ok=True)
        image.save(folder / "inputs" / f"{kind}.jpg", "PNG")  # exact
    return folder


def test_texts_and_insets_of_a_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced = [{"content": "tuebingen", "by": "summer_palace", "because": "no network"}]
    inputs = {"content": noise(seed=1), "style": noise(50, 50, seed=2)}
    asked = {"inputs": ["content"], "inset": True, "label": "a label"}
    used = {"weights": {"backbone": "vgg11"}, "substituted": replaced}
    folders = [
        write_panel(tmp_path / "0", inputs=inputs, figure=asked, **used),
        write_panel(tmp_path / "1", settings={"panel": "C", "size": 300, "steps": None}),
        write_panel(tmp_path / "002_beta=3"),
    ]
    draw = Mock(wraps=draw_grid)
    monkeypatch.setattr("nst_exp.report.figure.draw_grid", draw)
    draw_figure([read_run_folder(folder) for folder in folders])
    (rows,), texts = draw.call_args
    panels = [panel for row in rows for panel in row]
    assert [len(row) for row in rows] == [2, 2]
    labels = [panel.label for panel in panels]
    assert labels == ["content: content_file", "a label", "C", "beta=3"]
    caption = "vgg11 / vgg16, size 40 / 300, 10 steps; summer_palace instead of tuebingen"
    assert texts == {"title": "A title", "caption": caption}
    insets = [panel.inset for panel in panels]
    assert insets[1] is not None
    assert insets[1].size == (50, 50)
    assert insets[0] is insets[2] is None  # that run saved no copy


def test_runs_without_an_image_say_why(tmp_path: Path) -> None:
    states = ("failed", "interrupted", "running", "done", "done")
    folders = [write_job(tmp_path / str(n), status=status) for n, status in enumerate(states)]
    (folders[3] / "image.png").unlink()
    (folders[4] / "image.png").write_bytes(b"\x89PNG no more")
    panels = [result_panel(read_run_folder(folder), "") for folder in folders]
    assert [panel.image for panel in panels] == [None] * 5
    notes = ["failed", "interrupted", "unfinished", "missing", "damaged"]
    assert [panel.note for panel in panels] == notes


def test_every_title_is_a_figure_and_only_drawings_are_replaced(tmp_path: Path) -> None:
    titles = ["Figure 3", "Depth: conv1?", "Figure 3", "Depth: conv1!", ""]
    folders = [
        write_panel(tmp_path / str(n), figure={"title": title}, image=noise(seed=n))
        for n, title in enumerate(titles)
    ]
    names = ["figure_3.png", "figure_depth_conv1.png", "figure_depth_conv1_2.png"]
    for _ in range(2):
        assert [path.name for path in write_figures(folders, tmp_path)] == names
    for number, name in enumerate(("figure_3.png", "figure_depth_conv1.png", "figure_3.png")):
        place(Image.open(tmp_path / name), noise(seed=number))
    noise().save(tmp_path / names[1])  # the user's
    before = (tmp_path / names[1]).read_bytes()
    with pytest.raises(OutputError, match="exists and is not a drawing"):
        write_figures(folders, tmp_path)
    assert (tmp_path / names[1]).read_bytes() == before


def test_front_has_exactly_the_points_that_none_dominates() -> None:
    points = [(float(a), float(b)) for a, b in np.random.default_rng(0).integers(0, 20, (200, 2))]

    def dominated(point: tuple[float, float]) -> bool:
        return any(p[0] <= point[0] and p[1] <= point[1] and p != point for p in points)

    front = pareto_front(points)
    assert sorted(front) == [n for n, point in enumerate(points) if not dominated(point)]
    assert [points[n] for n in front] == sorted(points[n] for n in front)


def sweep_with(folder: Path, points: list[tuple[float, float]], section: str) -> Path:
    names = {"metrics": ("content_distance", "style_distance"), "losses": ("content", "style")}
    sweep = write_sweep(folder, [{"beta": str(n)} for n in range(len(points))])
    for number, point in enumerate(points):
        values = dict(zip(names[section], point, strict=True))
        change_record(sweep / f"{number:03d}", **{section: values})
    return sweep


@pytest.mark.parametrize(("section", "kind"), [("metrics", "metric"), ("losses", "loss")])
def test_tradeoff_of_a_sweep(tmp_path: Path, section: str, kind: str) -> None:
    points = [(3.0, 1.0), (2.0, 2.0), (3.0, 2.0), (float("nan"), 1.0), (1.0, 3.0)]
    sweep = sweep_with(tmp_path / "s", points, section)
    change_record(sweep / "003", status="failed")
    report = read_report([sweep])
    found = find_tradeoff(report)
    assert found is not None
    assert (found.kind, found.front) == (kind, [4, 1, 0])
    assert sorted(found.points) == [0, 1, 2, 4]
    results = {n: Panel("", Image.new("RGB", (160, 90), color(n))) for n in (0, 1, 2, 4)}
    pixels = np.asarray(draw_tradeoff(report, found, results))
    lefts = [np.nonzero((pixels == color(n)).all(axis=2))[1].min() for n in (4, 1, 0)]
    assert lefts == sorted(lefts)
    assert not (pixels == color(2)).all(axis=2).any()  # not on the front


def test_numbers_that_cannot_be_compared_make_no_tradeoff(tmp_path: Path) -> None:
    sweep = sweep_with(tmp_path / "s", [(1.0, 2.0), (2.0, 1.0)], "losses")
    distances = {"content_distance": 0.1, "style_distance": 0.1}
    change_record(sweep / "001", metrics=distances)  # of one job only: losses are compared
    found = find_tradeoff(read_report([sweep]))
    assert found is not None
    assert found.points[1] == (2.0, 1.0)
    change_record(sweep / "001", config={"loss": {"other": 1}})
    assert find_tradeoff(read_report([sweep])) is None
