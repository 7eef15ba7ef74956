"""The web page in a browser: selection, images, comparison, pages of other reports."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from report_folders import NASTY, change_record, color, write_job, write_sweep
from report_page import cells, column, marked, write_page

pytestmark = pytest.mark.slow


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
