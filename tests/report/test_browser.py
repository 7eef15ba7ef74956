"""The web page in a real browser."""

import shutil
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from report_folders import NASTY, SIZE, change_record, color, write_job, write_sweep

from nst_exp.report.axes import arrange
from nst_exp.report.entries import read_report
from nst_exp.report.html import render_page
from nst_exp.report.html_data import page_data
from nst_exp.report.table import as_csv
from nst_exp.report.tradeoff import find_tradeoff
from nst_exp.utils.hashing import sha256_of

pytestmark = pytest.mark.slow

VALUES = [
    {"beta": beta, "style": style, "seed": seed}
    for beta, style, seed in product(("50", "0.5"), (NASTY, "wave"), "012")
]


def write_page(folders: Sequence[Path], target: Path) -> str:
    """Write the page and the table of a report without its drawings; return the page's address."""
    report = read_report(folders)
    tradeoff = find_tradeoff(report)
    data = page_data(report, "", arrange(report.rows, report.varied), tradeoff, target)
    (target / "report.html").write_text(render_page(data), encoding="utf-8")
    (target / "results.csv").write_text(as_csv(report, tradeoff), encoding="utf-8")
    return (target / "report.html").as_uri()


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a sweep of twelve jobs over three keys, with curves, snapshots and inputs."""
    root = tmp_path_factory.mktemp("page")
    inputs = {}
    for kind in ("content", "style"):
        Image.new("RGB", SIZE, color(len(kind))).save(root / f"{kind}.png")
        path = root / f"{kind}.png"
        inputs[kind] = {"path": str(path), "sha256": sha256_of(path)}
    steps = (0, 5, 10)
    folder = write_sweep(root / "s", VALUES, steps=steps, warnings=[NASTY], inputs=inputs)
    for index, job in enumerate(sorted(folder.glob("0*"))):
        rows = [f"{n},{n},{9 / n + index},{5 / n},{4 / n},0.5" for n in range(1, 11)]
        header = "step,evaluations,total,content,style,tv"
        (job / "losses.csv").write_text("\n".join([header, *rows, ""]))
    write_page([folder], folder)
    return folder


@pytest.fixture(scope="module")
def tab() -> Iterator[Any]:
    """Start Chromium with Playwright, if both are installed, and open a tab."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        tab = chromium.new_page(reduced_motion="reduce")  # no smooth scrolling under the pointer
        tab.set_default_timeout(10_000)
        tab.problems, tab.requests = [], []
        tab.on("console", lambda message: tab.problems.append(message.text))
        tab.on("pageerror", lambda error: tab.problems.append(str(error)))
        tab.on("dialog", lambda dialog: tab.problems.append(dialog.message))
        tab.on("request", lambda request: tab.requests.append(request.url))
        yield tab
        chromium.close()


@pytest.fixture
def page(tab: Any, sweep: Path) -> Iterator[Any]:
    """Open the page of the sweep; it must make no other request and no error."""
    tab.set_viewport_size({"width": 1300, "height": 800})
    tab.requests.clear()
    tab.goto((sweep / "report.html").as_uri())
    yield tab
    assert tab.problems == []
    assert [url for url in tab.requests if not url.startswith(("data:", "file:"))] == []
    assert sum(url.startswith("file:") for url in tab.requests) == 1


def cells(page: Any, name: str) -> Any:
    """Return the cells of a column of the table."""
    names = [text.strip() for text in page.locator("#jobs th").all_inner_texts()]
    return page.locator(f"#jobs tbody td:nth-child({names.index(name) + 1})")


def column(page: Any, name: str) -> list[str]:
    """Return the texts of a column of the table."""
    return [text.strip() for text in cells(page, name).all_inner_texts()]


def pixel_of_difference(page: Any) -> list[int]:
    """Return red, green and blue in the middle of the difference."""
    pixel: list[int] = page.evaluate(
        """async () => { await compare(); return [...document.getElementById("compare-canvas")
            .getContext("2d").getImageData(20, 15, 1, 1).data]; }"""
    )
    assert pixel[3] == 255
    return pixel[:3]


def difference(one: int, other: int, factor: int) -> list[int]:
    """Return the difference of the colors of two images, as the page shows it."""
    return [min(255, factor * abs(a - b)) for a, b in zip(color(one), color(other), strict=True)]


def marked(page: Any, name: str = "is-a") -> dict[str, set[str]]:
    """Return the jobs that are marked in each section."""
    found: dict[str, set[str]] = page.evaluate(
        """(name) => Object.fromEntries(["sheet", "table", "curves", "scatter", "parallel", "time"]
            .map((id) => [id, [...document.querySelectorAll(`#${id} .${name}`)]
                .map((element) => element.dataset.jobs)]))""",
        name,
    )
    return {section: set(jobs) for section, jobs in found.items()}


def test_table_is_sorted(page: Any) -> None:
    header = page.locator("#jobs th", has_text="beta")
    assert column(page, "beta") == ["50"] * 6 + ["0.5"] * 6
    header.locator("button").focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    assert column(page, "beta") == ["0.5"] * 6 + ["50"] * 6
    assert column(page, "job")[:7] == ["6", "7", "8", "9", "10", "11", "0"]
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert page.locator('#jobs th[aria-sort="descending"]').count() == 1
    assert column(page, "style")[0] == NASTY  # as text


def test_filters_apply_everywhere(page: Any) -> None:
    for name, text, expected in (
        ("beta", "0.5", range(6, 12)),
        ("beta", "1..", range(6)),
        ("total loss", "2.5..4.5", range(1, 4)),
        ("total loss", "> 11", [10, 11]),
        ("style", "AV", [3, 4, 5, 9, 10, 11]),
        ("style", "=wav", []),
    ):
        box = page.get_by_label(f"Filter {name}", exact=True)
        box.fill(text)
        assert column(page, "job") == [str(number) for number in expected]
        assert page.locator("#curve-plot path.line").count() == len(expected)
        assert page.locator("#scatter-plot circle").count() == len(expected)
        assert page.locator("#sheet .out").count() == 12 - len(expected)
        assert page.locator("#shown").inner_text() == f"{len(expected)} of 12 jobs"
        page.locator("#filters button").click()
        assert (len(column(page, "job")), box.input_value()) == (12, "")


def test_columns_are_chosen(page: Any) -> None:
    page.set_viewport_size({"width": 1900, "height": 800})
    page.locator("#column-count").click()
    page.get_by_role("checkbox", name="ssim").uncheck()
    page.get_by_role("checkbox", name="evaluations").check()
    names = page.locator("#jobs th").all_inner_texts()
    assert "evaluations" in names
    assert "ssim" not in names
    assert "evaluations" not in page.locator("#parallel-plot").inner_text()  # it is 12 everywhere
    assert page.locator("#table-scrolls").is_hidden()
    page.set_viewport_size({"width": 600, "height": 800})
    page.locator("#table-scrolls").wait_for(state="visible")


def test_means_and_deviations_are_those_of_pandas(page: Any, sweep: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    page.locator("#over").select_option("seed")
    frame = pandas.read_csv(sweep / "results.csv")
    groups = frame.groupby(["beta", "style"], sort=False)
    assert column(page, "jobs") == ["3"] * 4
    for name, measured in (("total loss", "total_loss"), ("ssim", "ssim")):
        titles = [cells(page, name).nth(n).get_attribute("title").split(", ") for n in range(4)]
        means = [float(title[0].removeprefix("mean ")) for title in titles]
        deviations = [float(title[1].removeprefix("standard deviation ")) for title in titles]
        assert means == pytest.approx(list(groups[measured].mean()), rel=1e-12)
        assert deviations == pytest.approx(list(groups[measured].std()), rel=1e-12)
    assert column(page, "total loss")[0] == "2.5 ± 1"
    assert page.locator("#curve-plot path.line").count() == 4
    assert page.locator("#curve-plot path.band").count() == 4
    curves = page.evaluate("makeCurves('total', 'step').map((curve) => curve.points.at(-1))")
    assert curves[0] == pytest.approx([10, 1.9, 1])  # 9 / 10 + (0, 1, 2)
    assert page.locator("#scatter-plot path.error").count() == 4
    page.get_by_label("Filter total loss").fill("2..")  # leaves two jobs of the first group
    assert column(page, "jobs") == ["2", "3", "3", "3"]


def test_curves_of_different_steps_are_averaged_where_both_have_values(page: Any) -> None:
    average = page.evaluate("averageCurves([[[1, 2], [3, 6], [5, 6]], [[2, 0], [3, 2]]]).flat()")
    assert average == pytest.approx([2, 2, 8**0.5, 3, 4, 8**0.5])


def test_a_job_is_selected_everywhere(page: Any) -> None:
    def assert_selected(number: int) -> None:
        assert set(map(tuple, marked(page).values())) == {(str(number),)}
        assert page.locator("#compare-label-a").inner_text().startswith(f"A {number}: ")
        assert page.locator("#compare").bounding_box()["y"] < 800  # beside what was clicked

    assert_selected(0)
    cells(page, "beta").nth(4).click()
    assert_selected(4)
    page.keyboard.press("ArrowRight")
    assert_selected(5)
    page.locator('#scatter-plot circle[data-jobs="11"]').press("Enter")
    assert_selected(11)
    page.locator('#sheet .cell[data-jobs="7"]').click()
    assert_selected(7)
    page.keyboard.press("ArrowRight")
    assert_selected(8)
    page.keyboard.press("Shift+ArrowLeft")
    assert marked(page, "is-b")["table"] == {"10"}
    page.locator('#sheet .cell[data-jobs="2"]').click(modifiers=["Shift"])
    assert marked(page, "is-b")["sheet"] == {"2"}
    plot = page.locator("#curve-plot svg")
    plot.scroll_into_view_if_needed()
    x, y = page.evaluate("curveLines.find((curve) => curve.jobs[0] === 9).places.at(-1)")
    plot.click(position={"x": x - 1, "y": y})
    assert_selected(9)


def test_images_are_enlarged_with_their_paths(page: Any) -> None:
    cell = page.locator('#sheet .cell[data-jobs="3"]')
    cell.click()
    assert page.locator("#viewer").is_hidden()
    cell.click()
    assert page.locator("#viewer-path").inner_text() == "003/image.png"
    assert page.locator("#viewer-path a").get_attribute("href") == "003/image.png"
    page.keyboard.press("ArrowRight")
    assert page.locator("#viewer-path").inner_text() == "004/image.png"
    assert marked(page)["table"] == {"4"}
    page.keyboard.press("Escape")
    page.locator("#inputs button").first.click()
    assert page.locator("#viewer-path").inner_text().endswith("/content.png")
    page.locator("#viewer-close").click()
    page.locator('#time .cell[data-jobs="4"]').click()
    assert page.locator("#viewer-path").inner_text() == "004/snapshots/step_000010.png"


def test_slider_shows_the_snapshots(page: Any) -> None:
    first = page.locator("#time-images img").first
    assert page.locator("#time-shown").inner_text() == "10 of 10"
    last = first.get_attribute("src")
    page.locator("#time-step").focus()
    page.keyboard.press("Home")
    assert page.locator("#time-shown").inner_text() == "0 of 10"
    assert first.get_attribute("src") != last
    page.keyboard.press("ArrowRight")
    assert page.locator("#time-shown").inner_text() == "5 of 10"
    assert (first.get_attribute("alt") or "").endswith("step 5")


def test_difference_of_two_images(page: Any) -> None:
    page.locator('#sheet .cell[data-jobs="1"]').click()
    page.locator("#compare-b").select_option("3")
    page.locator("#compare-factor").fill("3")
    # Larger reports have compressed images.
    assert pixel_of_difference(page) == pytest.approx(difference(1, 3, 3), abs=9)
    assert "× 3" in page.locator("#compare-note").inner_text()
    page.locator("#compare-swap").click()
    assert page.locator("#compare-a").input_value() == "3"
    page.locator("#compare-b").select_option(label="content: content")
    assert page.locator("#compare-swap").is_disabled()
    expected = difference(3, len("content"), 3)
    assert pixel_of_difference(page) == pytest.approx(expected, abs=9)


def test_plots_follow_their_choices(page: Any) -> None:
    legend = page.locator("#legend button")
    assert legend.all_inner_texts() == ["beta=0.5", "beta=50"]  # more jobs than colors
    legend.first.click()
    assert page.locator("#curve-plot path.line").count() == 6
    page.locator("#color-by").select_option("job")
    assert legend.count() == page.locator("#curve-plot path.line").count() == 12
    page.locator("#curve-loss").select_option("style")
    assert "style loss" in page.locator("#curve-plot").inner_text()
    assert page.locator("#scatter-plot path.front").count() == 1
    page.locator("#scatter-x").select_option("key:beta")
    page.locator("#scatter-y").select_option("loss:total")
    assert page.locator("#scatter-plot path.front").count() == 0  # it belongs to other numbers
    dots = page.locator("#scatter-plot circle")
    across = [float(dots.nth(n).get_attribute("cx") or "nan") for n in range(12)]
    up = [float(dots.nth(n).get_attribute("cy") or "nan") for n in range(12)]
    assert len(set(across[6:])) == len(set(across[:6])) == 1
    assert across[6] < across[0]
    assert up == sorted(up, reverse=True)  # the totals rise, and y grows downwards
    dots.nth(7).focus()
    assert page.locator("#scatter-read").inner_text().startswith("7: beta=0.5")


def test_axes_are_logarithmic_or_zoomed_on_demand(page: Any) -> None:
    plot = page.locator("#curve-plot svg")

    def ticks() -> list[str]:
        texts: list[str] = page.locator("#curve-plot text:not(.name)").all_inner_texts()
        return texts

    assert page.locator("#curve-log-y").is_checked()
    logarithmic = ticks()
    page.locator("#curve-log-y").uncheck()
    linear = ticks()
    assert linear != logarithmic
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 400, box["y"] + 160, steps=3)
    page.mouse.up()
    assert ticks() not in (linear, logarithmic)
    assert marked(page)["table"] == {"0"}  # a drag selects nothing
    page.locator("#curve-reset").click()
    assert ticks() == linear
    assert page.locator("#curve-reset").is_hidden()


def test_parallel_coordinates_filter(page: Any) -> None:
    assert page.locator("#parallel-plot path.line").count() == 12
    page.locator("#parallel-plot .choice", has_text="wave").click()
    assert column(page, "style") == ["wave"] * 6
    assert page.locator("#parallel-plot path.out").count() == 6
    page.locator("#parallel-plot .choice", has_text="wave").click()
    handle = page.locator("#parallel-plot .handle").first  # of beta
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    page.mouse.move(box["x"] + 12, box["y"] + 3)
    page.mouse.down()
    page.mouse.move(box["x"] + 12, box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    assert column(page, "beta") == ["50"] * 6
    assert ".." in page.get_by_label("Filter beta").input_value()
    page.locator("#parallel-plot .handle").first.click()
    assert len(column(page, "beta")) == 12


def test_command_is_copied_and_a_small_screen_is_enough(page: Any) -> None:
    page.locator("#jobs tbody .copy").nth(3).click()
    page.wait_for_function('document.getElementById("copied").textContent')
    copied = "Copied: python -m nst_exp beta=50 style=wave seed=0"
    assert page.locator("#copied").inner_text() == copied
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    box = page.locator("#compare").bounding_box()
    assert box["y"] + box["height"] == 800  # it does not scroll away
    assert NASTY in page.locator("#note-list").inner_text()


def test_page_of_a_single_run(tab: Any, tmp_path: Path) -> None:
    folder = write_job(tmp_path / "run", steps=(0, 10))
    header = "step,evaluations,total,content,style,tv"
    (folder / "losses.csv").write_text(f"{header}\n1,1,3,2,1,0\n2,2,2,1,1,0\n")
    tab.goto(write_page([folder], folder))
    assert tab.locator("nav a:visible").all_inner_texts() == [
        *("Result", "Record", "Losses", "Over time"),
    ]
    assert tab.locator("#curve-plot path.line").count() == 3  # total, content, style
    assert "ssim" in tab.locator(".facts").inner_text()
    assert tab.locator("#over").is_hidden()
    tab.locator("#sheet .cell").click()
    assert tab.locator("#viewer-path").inner_text() == "image.png"
    assert tab.problems == []


def test_unfinished_jobs_are_shown_and_not_averaged(tab: Any, tmp_path: Path) -> None:
    values = [{"beta": beta, "seed": seed} for beta in "12" for seed in "01"]
    folder = write_sweep(tmp_path / "s", values)
    change_record(folder / "001", status="failed", error="Oops")
    shutil.rmtree(folder / "003")
    tab.goto(write_page([folder], folder))
    assert tab.locator("#sheet .none").all_inner_texts() == ["failed", "missing"]
    tab.locator("#sheet .none").first.click()
    assert tab.locator("#compare-label-a").inner_text().endswith("(failed)")
    tab.locator("#over").select_option("seed")
    assert column(tab, "jobs") == ["1 of 2", "1 of 2"]
    assert column(tab, "total loss") == ["1.5", "3.5"]  # one value has no deviation
    assert tab.problems == []


def test_page_of_two_sweeps(tab: Any, tmp_path: Path) -> None:
    for name, size in (("one", 40), ("two", 64)):
        write_sweep(tmp_path / name, [{"beta": "1"}, {"beta": "2"}], settings={"size": size})
    tab.goto(write_page([tmp_path / "one", tmp_path / "two"], tmp_path))
    assert column(tab, "size") == ["40", "40", "64", "64"]
    tab.locator("#over").select_option("size")
    assert column(tab, "beta") == ["1", "2"]
    tab.locator("#compare-b").select_option("1")
    assert pixel_of_difference(tab) == difference(0, 1, 4)  # few images have no loss
    assert tab.problems == []
