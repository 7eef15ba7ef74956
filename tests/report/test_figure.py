"""Figures from runs' folders: what is where, what is written below, and what cannot be drawn."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_run import TINY, picture, pixels, tiny_run
from numpy.typing import NDArray
from PIL import Image

from nst_exp.app import main as cli
from nst_exp.report.figure import main, write_figure, write_figures
from nst_exp.report.grid import MAX_WIDTH, MIN_CELL, Panel, draw, font, geometry, wrap
from nst_exp.results.run_folder import find_run_folders, read_run_folder
from nst_exp.utils.errors import OutputError

WIDTH, HEIGHT = 200, 120  # of a panel; wider than MIN_CELL, so that it is a cell's width


def noise(width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> Image.Image:
    """A picture of which every pixel is another."""
    values = np.random.default_rng(seed).integers(0, 200, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def job(
    folder: Path,
    *,
    status: str = "done",
    label: str = "a label",
    result: Image.Image | None = None,
    content: Image.Image | None = None,
    style: Image.Image | None = None,
    **settings: Any,
) -> Path:
    """The folder that a run leaves, without the run."""
    (folder / "inputs").mkdir(parents=True)
    figure = {"title": "A title", "label": label, "columns": 2, "inputs": [], "inset": False}
    figure |= {key: settings.pop(key) for key in list(settings) if key in figure}
    inputs: dict[str, dict[str, str]] = {}
    for key, image in (("content", content), ("style", style)):
        inputs[key] = {"path": f"/gone/{key}_file.jpg", "sha256": f"{key} {folder.name}"}
        if image is not None:
            inputs[key]["copy"] = f"inputs/{key}.jpg"
            image.save(folder / "inputs" / f"{key}.jpg", "PNG")  # exact, and told by its content
    record = {
        "status": status,
        "inputs": inputs,
        "substituted": settings.pop("substituted", []),
        "config": {
            "image": "image.png",
            "panel": None,
            "size": 200,
            "steps": 7,
            "backbone": {"name": "vgg16", "weights": "pretrained"},
            "figure": figure,
            **settings,
        },
    }
    (folder / "result.json").write_text(json.dumps(record), encoding="utf-8")
    if result is not None:
        result.save(folder / "image.png")
    return folder


def where(figure: NDArray[np.uint8], image: Image.Image) -> tuple[int, int]:
    """Left and top of the one place where a picture's pixels are found, each as it is."""
    values = np.asarray(image)
    first = (figure[..., :] == values[0, 0]).all(axis=2)
    found = [
        (int(left), int(top))
        for top, left in zip(*np.nonzero(first), strict=True)
        if np.array_equal(figure[top : top + image.height, left : left + image.width], values)
    ]
    assert len(found) == 1
    return found[0]


def texts(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is handed over to be drawn from here on."""
    calls: list[dict[str, Any]] = []

    def hook(title: str, panels: list[Panel], columns: int, settings: str) -> Image.Image:
        calls.append({"title": title, "panels": panels, "columns": columns, "settings": settings})
        return draw(title, panels, columns, settings)

    monkeypatch.setattr("nst_exp.report.figure.draw", hook)
    return calls


# ------------------------------------------------------------------------------------- the layout


def test_panels_are_where_they_should_be_and_not_resampled() -> None:
    images = [noise(seed=seed) for seed in range(5)]
    figure = draw("Title", [Panel(str(n), image) for n, image in enumerate(images)], 2, "small")
    sizes = geometry(WIDTH, 2)
    assert (sizes.cell, figure.width) == (WIDTH, 2 * WIDTH + 3 * sizes.gap)
    places = [where(np.asarray(figure), image) for image in images]
    assert [left for left, _ in places] == [
        sizes.gap + column * (WIDTH + sizes.gap) for column in (0, 1, 0, 1, 0)
    ]
    tops = [top for _, top in places]
    assert tops[0] == tops[1] < tops[2] == tops[3] < tops[4]
    assert tops[2] - tops[0] == tops[4] - tops[2] > HEIGHT + sizes.label


def test_smaller_panels_are_centerd_in_the_row() -> None:
    wide, high = noise(200, 100), noise(60, 180, seed=1)
    figure = np.asarray(draw("", [Panel("", wide), Panel("", high)], 2, ""))
    gap = geometry(200, 2).gap
    assert where(figure, wide) == (gap, gap + 40)
    assert where(figure, high) == (gap + 200 + gap + 70, gap)


def test_paper_is_white_where_nothing_is_drawn() -> None:
    figure = np.asarray(draw("", [Panel("", noise())], 1, ""))
    left, top = where(figure, noise())
    inked = (figure != 255).any(axis=2)
    inked[top : top + HEIGHT, left : left + WIDTH] = False
    assert not inked.any()


def test_wide_figures_are_reduced_together() -> None:
    figure = draw("", [Panel("", noise(1600, 400)), Panel("", noise(800, 400))], 2, "")
    sizes = geometry(1600, 2)
    assert sizes.width == figure.width <= MAX_WIDTH
    assert figure.width > MAX_WIDTH - 10  # and no more than that takes
    inked = np.nonzero((np.asarray(figure) != 255).any(axis=2).any(axis=0))[0]
    assert (inked[0], inked[-1]) == (
        sizes.gap,
        sizes.gap + sizes.cell + sizes.gap + (sizes.cell + 800) // 2 - 1,
    )


@pytest.mark.parametrize("columns", [1, 2, 3, 10, 100])
@pytest.mark.parametrize("widest", [1, 32, 384, 5000])
def test_no_figure_is_too_wide(widest: int, columns: int) -> None:
    sizes = geometry(widest, columns)
    assert sizes.width <= MAX_WIDTH
    assert sizes.cell >= min(widest, MAX_WIDTH // (2 * columns))


def test_thumbnails_have_cells_wide_enough_for_their_labels() -> None:
    figure = np.asarray(draw("", [Panel("", noise(32, 20))], 1, ""))
    gap = geometry(32, 1).gap
    assert figure.shape[1] == MIN_CELL + 2 * gap
    assert where(figure, noise(32, 20)) == (gap + (MIN_CELL - 32) // 2, gap)


def test_inset_is_in_the_lower_left_corner_behind_a_white_frame() -> None:
    flat = Image.new("RGB", (WIDTH, HEIGHT), (0, 0, 200))
    inset = Image.new("RGB", (100, 50), (200, 0, 0))
    figure = np.asarray(draw("", [Panel("", flat, inset=inset)], 1, ""))
    gap = geometry(WIDTH, 1).gap
    panel = figure[gap : gap + HEIGHT, gap : gap + WIDTH]
    assert (panel[-28:, :56] == (200, 0, 0)).all()  # 28 % of 200
    assert (panel[-29, :57] == 255).all()
    assert (panel[-29:, 56] == 255).all()
    assert (panel[:-29] == (0, 0, 200)).all()
    assert (panel[:, 57:] == (0, 0, 200)).all()


def test_high_inset_leaves_the_panel_visible() -> None:
    flat = Image.new("RGB", (WIDTH, HEIGHT), (0, 0, 200))
    inset = Image.new("RGB", (20, 200), (200, 0, 0))
    figure = np.asarray(draw("", [Panel("", flat, inset=inset)], 1, ""))
    assert (figure == (200, 0, 0)).all(axis=2).any(axis=1).sum() == round(0.6 * HEIGHT)


def test_missing_panel_is_an_empty_frame_of_the_others_shape() -> None:
    panels = [Panel("", None, "failed"), Panel("", noise())]
    figure = np.asarray(draw("", panels, 2, ""))
    gap = geometry(WIDTH, 2).gap
    cell = figure[gap : gap + HEIGHT, gap : gap + WIDTH]
    for edge in (cell[0], cell[-1], cell[:, 0], cell[:, -1]):
        assert (edge < 255).all()
    inside = (cell[2:-2, 2:-2] < 255).any(axis=2)
    rows, columns = np.nonzero(inside)
    assert inside.any()  # the word, in the middle
    assert abs(rows.mean() - HEIGHT / 2) < 5
    assert abs(columns.mean() - WIDTH / 2) < 10
    assert np.asarray(draw("", [Panel("", None, "failed")], 3, "")).shape[1] > MIN_CELL


@pytest.mark.parametrize(
    "label",
    [
        "The Shipwreck of the Minotaur by J.M.W. Turner, 1805, and then some more words",
        "a_word_that_no_cell_of_that_width_could_hold_in_one_line_" * 3,
        "W" * 200,
    ],
)
def test_labels_stay_in_their_cells(label: str) -> None:
    panels = [Panel("", noise()), Panel(label, noise(seed=1)), Panel("", noise(seed=2))]
    figure = np.asarray(draw("", panels, 3, ""))
    gap = geometry(WIDTH, 3).gap
    below = (figure[gap + HEIGHT :] < 255).any(axis=2)
    columns = np.nonzero(below.any(axis=0))[0]
    assert gap + WIDTH + gap - 1 <= columns[0]
    assert columns[-1] <= gap + 2 * WIDTH + gap + 1
    assert columns[-1] - columns[0] > 0.7 * WIDTH  # the width is used
    rows = np.nonzero(below.any(axis=1))[0]
    assert rows[-1] < below.shape[0] - 2  # the last line is whole


def test_wrapping_keeps_every_word_and_the_line_ends() -> None:
    text = "one two three four five\nsix  seven"
    lines = wrap(text, font(20), 100)
    assert " ".join(lines).split() == text.split()
    assert len(lines) > 3
    assert lines[-1] == "six  seven"  # a wider space is meant
    assert all(font(20).getlength(line) <= 100 for line in lines)
    assert wrap("1893, ratio = 0.005", font(20), 120) == ["1893,", "ratio = 0.005"]
    broken = wrap("x" * 50, font(20), 100)
    assert "".join(broken) == "x" * 50
    assert wrap("ab", font(20), 1) == ["a", "b"]
    assert wrap("", font(20), 100) == []


def test_characters_that_the_font_lacks_are_spelt_out() -> None:
    assert wrap("Tübingen, α/β = 2 × 10, façade", font(20), 999) == [
        "Tuebingen, alpha/beta = 2 x 10, facade"
    ]
    assert wrap("神奈川", font(20), 999) == ["???"]


def test_equal_figures_are_equal_files(tmp_path: Path) -> None:
    jobs = [job(tmp_path / "a", result=noise(), content=noise(seed=1), inputs=["content"])]
    write_figure(jobs, tmp_path / "1.png")
    write_figure(jobs, tmp_path / "2.png")
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()


# ----------------------------------------------------------------------------------- from folders


def test_jobs_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        job(tmp_path / f"{number}_panel=x")
    (tmp_path / "notes").mkdir()
    (tmp_path / "multirun.yaml").touch()
    names = [path.name for path in find_run_folders(tmp_path)]
    assert names == ["1_panel=x", "2_panel=x", "10_panel=x"]
    assert find_run_folders(tmp_path / "2_panel=x") == [tmp_path / "2_panel=x"]
    assert find_run_folders(tmp_path / "notes") == find_run_folders(tmp_path / "nowhere") == []


def test_inputs_come_first_then_the_panels(tmp_path: Path) -> None:
    images = [noise(seed=seed) for seed in range(4)]
    content, style, one, two = images
    shared = {"inputs": ["content", "style"], "content": content, "style": style, "inset": False}
    jobs = [job(tmp_path / "0", result=one, **shared), job(tmp_path / "1", result=two, **shared)]
    for folder in jobs:  # the same pictures in both
        record = json.loads((folder / "result.json").read_text())
        for key in ("content", "style"):
            record["inputs"][key]["sha256"] = key
        (folder / "result.json").write_text(json.dumps(record))
    target = tmp_path / "figure.png"
    assert write_figure(jobs, target) == target
    figure = pixels(target)
    places = [where(figure, image) for image in images]
    assert places[0][1] == places[1][1] < places[2][1] == places[3][1]
    assert places[0][0] == places[2][0] < places[1][0] == places[3][0]


def test_words_come_from_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = texts(monkeypatch)
    replaced = [
        {"backbone": "vgg19", "by": "vgg16", "because": "no network"},
        {"content": "tuebingen", "by": "summer_palace", "because": "no network"},
    ]
    jobs = [
        job(
            tmp_path / "0",
            result=noise(),
            content=noise(seed=1),
            style=noise(50, 50, seed=2),
            inputs=["content"],
            inset=True,
            columns=3,
            substituted=replaced,
        ),
        job(tmp_path / "1", result=noise(), label="", panel="C", size=300, substituted=replaced),
        job(tmp_path / "002_beta=3", result=noise(), label=""),
    ]
    assert write_figure(jobs, tmp_path / "figure.png") is not None
    call = drawn[0]
    assert (call["title"], call["columns"]) == ("A title", 3)
    labels = [panel.label for panel in call["panels"]]
    assert labels == ["content: content_file", "a label", "C", "beta=3"]
    assert call["settings"] == (
        "vgg16, size 200 / 300, 7 steps; vgg16 in place of vgg19; "
        "summer_palace in place of tuebingen"
    )
    insets = [panel.inset for panel in call["panels"]]
    assert insets[1] is not None
    assert insets[1].size == (50, 50)
    assert insets[0] is insets[2] is None  # the content has none; that run kept no copy


def test_many_sizes_and_random_weights_are_said_shortly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = texts(monkeypatch)
    backbone = {"name": "vgg11", "weights": "random"}
    jobs = [job(tmp_path / str(n), size=n, backbone=backbone) for n in (1, 9, 3, 4, 5)]
    write_figure(jobs, tmp_path / "figure.png")
    assert drawn[0]["settings"] == "vgg11 with random weights, size 1 to 9, 7 steps"


def test_runs_without_a_picture_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = texts(monkeypatch)
    jobs = [
        job(tmp_path / "0", status="failed"),
        job(tmp_path / "1", status="interrupted", result=noise()),
        job(tmp_path / "2", status="running"),
        job(tmp_path / "3"),
        job(tmp_path / "4"),
        job(tmp_path / "5", result=noise(), inputs=["content"]),
    ]
    (jobs[4] / "image.png").write_bytes(b"\x89PNG no more")
    write_figure(jobs, tmp_path / "figure.png")
    panels = drawn[0]["panels"]
    assert all(panel.picture is None for panel in panels[:-1])
    assert [panel.note for panel in panels] == [
        *("failed", "interrupted", "unfinished", "missing", "damaged", "")
    ]
    assert {panel.label for panel in panels} == {"a label"}


def test_input_without_a_copy_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = texts(monkeypatch)
    write_figure([job(tmp_path / "0", result=noise(), inputs=["style"])], tmp_path / "f.png")
    assert [(p.label, p.note) for p in drawn[0]["panels"]] == [
        ("style", "missing"),
        ("a label", ""),
    ]


def test_no_figure_is_asked_for(tmp_path: Path) -> None:
    jobs = [job(tmp_path / "0", title="", result=noise())]
    assert write_figure(jobs, tmp_path / "figure.png") is None
    assert write_figures(jobs, tmp_path / "figure.png") == []
    assert not (tmp_path / "figure.png").exists()


def test_several_titles_make_several_figures(tmp_path: Path) -> None:
    titles = ["Figure 3", "Depth: conv1?", "Figure 3", "Depth: conv1!", ""]
    jobs = [
        job(tmp_path / str(n), title=title, result=noise(seed=n)) for n, title in enumerate(titles)
    ]
    paths = write_figures(jobs, tmp_path / "figure.png")
    names = ["figure_3.png", "figure_depth_conv1.png", "figure_depth_conv1_2.png"]
    assert [path.name for path in paths] == names
    for number, name in enumerate(("figure_3.png", "figure_depth_conv1.png", "figure_3.png")):
        where(pixels(tmp_path / name), noise(seed=number))
    assert write_figures(jobs[:1], tmp_path / "figure.png") == [tmp_path / "figure.png"]


def test_only_figures_are_replaced(tmp_path: Path) -> None:
    jobs = [job(tmp_path / "0", result=noise())]
    target = tmp_path / "figure.png"
    write_figure(jobs, target)
    write_figure(jobs, target)
    for own in (jobs[0] / "image.png", jobs[0] / "result.json"):
        before = own.read_bytes()
        with pytest.raises(OutputError, match="is no figure made here"):
            write_figure(jobs, own)
        assert own.read_bytes() == before
    with pytest.raises(OutputError, match="there is no folder"):
        write_figure(jobs, tmp_path / "nowhere" / "figure.png")


# ------------------------------------------------------------------------------------ the command


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job(tmp_path / "s" / "0", result=noise())
    assert main([str(tmp_path / "s")]) == 0
    assert capsys.readouterr().out == f"figure: {tmp_path / 's' / 'figure.png'}\n"
    assert main([str(tmp_path / "s" / "0"), "--out", str(tmp_path / "other.png")]) == 0
    assert (tmp_path / "other.png").read_bytes() == (tmp_path / "s/figure.png").read_bytes()


def test_command_joins_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    job(tmp_path / "a" / "0", result=noise())
    job(tmp_path / "b", result=noise(seed=1))
    assert main(["b", "a"]) == 0
    figure = pixels(tmp_path / "figure.png")
    assert where(figure, noise(seed=1))[0] < where(figure, noise())[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["empty"], "empty: holds no run; give the folder of a run or of a sweep"),
        (["plain"], "plain: no run there asks for a figure; set figure.title"),
        (["good", "--out", "f.jpg"], "--out f.jpg: a figure is written as .png"),
    ],
)
def test_errors_of_the_command(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    job(tmp_path / "plain", title="", result=noise())
    job(tmp_path / "good", result=noise())
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {said}")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert list(tmp_path.glob("**/figure*")) == []


# ----------------------------------------------------------------------------------- whole runs

ASKED = ["figure.title=T", "size=32", "steps=1", "logging=none", "logging.progress=false"]


def test_run_keeps_its_pictures_as_it_used_them(tmp_path: Path) -> None:
    result = tiny_run(tmp_path / "o", *ASKED, "resolution.style_scale=0.5")
    content, style = (pixels(tmp_path / "o/inputs" / f"{key}.jpg") for key in ("content", "style"))
    assert content.shape == pixels(result.path).shape
    assert max(style.shape) == 16
    record = json.loads((tmp_path / "o/result.json").read_text())
    assert record["inputs"]["content"]["copy"] == "inputs/content.jpg"
    tiny_run(tmp_path / "plain", "steps=1")
    assert not (tmp_path / "plain/inputs").exists()


def test_finished_run_becomes_a_panel_without_being_repeated(tmp_path: Path) -> None:
    settings = ["size=32", "steps=1", "logging=none", "logging.progress=false"]
    path = tiny_run(tmp_path, *settings).path
    assert path is not None
    before = path.stat().st_mtime_ns
    for label in ("one", "two"):
        tiny_run(tmp_path, *settings, "figure.title=T", f"figure.label={label}")
        assert path.stat().st_mtime_ns == before
        assert read_run_folder(tmp_path).label == label
        assert (tmp_path / "inputs/style.jpg").is_file()


def test_overwriting_makes_the_copies_again(tmp_path: Path) -> None:
    tiny_run(tmp_path, *ASKED)
    (tmp_path / "inputs/notes.txt").touch()
    tiny_run(tmp_path, *ASKED, "content=starry_night", "overwrite=true")
    assert pixels(tmp_path / "inputs/content.jpg").shape == pixels(tmp_path / "image.png").shape
    tiny_run(tmp_path, *ASKED, "figure.title=", "seed=1", "overwrite=true")
    assert [path.name for path in (tmp_path / "inputs").iterdir()] == ["notes.txt"]


def test_own_pictures_of_that_name_survive(tmp_path: Path) -> None:
    """content=inputs/content.jpg out=. must not cost a person the photograph."""
    (tmp_path / "inputs").mkdir()
    own = picture(tmp_path / "inputs/content.jpg", (90, 60))
    before = own.read_bytes()
    for seed in (1, 2):
        settings = [*ASKED, f"content={own}", f"seed={seed}", "overwrite=true"]
        result = tiny_run(tmp_path, *settings)
        assert own.read_bytes() == before
        assert any("inputs/content.jpg is there already" in w for w in result.record["warnings"])
        assert (tmp_path / "inputs/style.jpg").is_file()


@pytest.fixture
def program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """main() in an empty folder with an experiment of two panels: exit code, stdout, stderr."""
    (tmp_path / "presets/experiment").mkdir(parents=True)
    (tmp_path / "presets/experiment/two.yaml").write_text(
        "# @package _global_\n"
        "panel: A\nstyle: ${panel:style}\n"
        "figure:\n"
        "  title: Figure 9\n  label: '${panel}: ${panel:style}'\n  columns: 3\n"
        "  inputs: [content]\n  inset: true\n"
        "  panels: {A: {style: a.png}, B: {style: b.png}}\n"
        "hydra: {sweeper: {params: {panel: 'A,B'}}}\n"
    )
    picture(tmp_path / "a.png", (60, 40), seed=1)
    picture(tmp_path / "b.png", (60, 40), seed=2)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        common = [o for o in TINY if not o.startswith(("style=", "size=", "steps="))]
        flags = [argument for argument in arguments if argument.startswith("-")]
        given = ["nst_exp", *flags, "--config-dir", "presets", "+experiment=two", *common]
        given += ["size=32", "steps=1", "logging=none", "logging.progress=false"]
        given += arguments[len(flags) :]
        monkeypatch.setattr(sys, "argv", given)
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.mark.slow
def test_sweep_ends_in_a_figure(program: Callable[..., Any], tmp_path: Path) -> None:
    code, out, err = program("-m")
    assert code == 0, err
    (sweep,) = (tmp_path / "outputs/sweep").iterdir()
    assert out.splitlines()[-1] == f"figure: {sweep.relative_to(tmp_path)}/figure.png"
    folders = find_run_folders(sweep)
    assert [folder.name for folder in folders] == ["000_panel=A", "001_panel=B"]
    figure = pixels(sweep / "figure.png")
    sizes = geometry(32, 3)
    assert figure.shape[1] == sizes.width
    for column, picture_file in enumerate(
        [folders[0] / "inputs/content.jpg", *(folder / "image.png" for folder in folders)]
    ):
        image = pixels(picture_file)
        shown = Image.fromarray(image[: image.shape[0] // 3])  # above the inset
        left = sizes.gap + column * (sizes.cell + sizes.gap) + (sizes.cell - 32) // 2
        assert where(figure, shown)[0] == left

    before = (sweep / "figure.png").read_bytes()
    for name in ("a.png", "b.png"):
        (tmp_path / name).unlink()
    os.remove(sweep / "figure.png")
    assert main([str(sweep)]) == 0  # from the folders alone
    assert (sweep / "figure.png").read_bytes() == before


@pytest.mark.slow
def test_sweep_with_a_failing_job_still_ends_in_a_figure(
    program: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:200])  # damaged
    drawn = texts(monkeypatch)
    code, out, err = program("-m", "out=s")
    assert code == 1
    assert "b.png" in err
    assert out.splitlines()[-1] == "figure: s/figure.png"
    assert [(p.label, p.note) for p in drawn[0]["panels"]] == [
        ("content: chelsea", ""),
        ("A: a.png", ""),
        ("B: b.png", "failed"),
    ]

    # The same folder again, one panel alone: the other one's folder is an earlier sweep's.
    code, out, _ = program("-m", "out=s", "panel=A,A")
    assert code == 0
    assert [panel.label for panel in drawn[1]["panels"]][1:] == ["A: a.png", "A: a.png"]


@pytest.mark.slow
def test_figure_that_cannot_be_written(program: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    picture(tmp_path / "s/figure.png", (20, 20))
    before = (tmp_path / "s/figure.png").read_bytes()
    code, _out, err = program("-m", "out=s", "panel=A")
    assert code == 5
    assert err.startswith("error: the figure was not written: s/figure.png: is there already")
    assert (tmp_path / "s/figure.png").read_bytes() == before
    (tmp_path / "b.png").unlink()
    assert program("-m", "out=s", "panel=B")[0] == 2  # the run's own failure goes before


def test_single_run_ends_in_a_figure(program: Callable[..., Any], tmp_path: Path) -> None:
    code, out, _ = program("panel=B", "out=o")
    assert code == 0
    assert out.splitlines()[-2:] == ["result: o/image.png", "figure: o/figure.png"]
    assert pixels(tmp_path / "o/figure.png").shape[1] == geometry(32, 2).width
    assert program("out=o", "figure.title=", "panel=B")[1].splitlines()[-1] == "result: o/image.png"
