"""The web page in a real browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_folders import NASTY, color, write_sweep

from nst_exp.report import write_report

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start Chromium with Playwright, if both are installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page_in_browser(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """Open the page of four jobs; it must make no other request and no error."""
    values = [{"beta": b, "style": s} for b in ("50", "0.5") for s in (NASTY, "wave")]
    sweep = write_sweep(tmp_path / "s", values, steps=(0, 5, 10), warnings=[NASTY])
    for index, folder in enumerate(sorted(sweep.glob("0*"))):
        rows = [f"{n},{n},{9 / n + index},{5 / n},{4 / n},0.5" for n in range(1, 11)]
        header = "step,evaluations,total,content,style,tv"
        (folder / "losses.csv").write_text("\n".join([header, *rows, ""]))
    write_report([sweep], sweep)
    errors: list[str] = []
    requests: list[str] = []
    page = browser.new_page(viewport={"width": 1000, "height": 800})
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))
    address = (sweep / "report.html").as_uri()
    page.goto(address)
    yield page
    page.close()
    assert errors == []
    assert [url for url in requests if not url.startswith("data:")] == [address]


def column(page: Any, place: int) -> list[str]:
    """Return the texts of a column of the table."""
    texts = page.locator(f"#jobs tbody td:nth-child({place})").all_inner_texts()
    return [text.strip() for text in texts]


def test_table_is_sorted(page_in_browser: Any) -> None:
    page = page_in_browser
    header = page.locator("#jobs th", has_text="beta")
    assert column(page, 2) == ["50", "50", "0.5", "0.5"]
    header.locator("button").focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    assert column(page, 2) == ["0.5", "0.5", "50", "50"]
    assert column(page, 1) == ["2", "3", "0", "1"]
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert column(page, 1) == ["0", "1", "2", "3"]
    assert page.locator('#jobs th[aria-sort="descending"]').count() == 1
    assert column(page, 3)[0] == NASTY  # as text


def test_slider_shows_the_snapshots(page_in_browser: Any) -> None:
    page = page_in_browser
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


def test_difference_of_two_jobs(page_in_browser: Any) -> None:
    page = page_in_browser
    page.locator('.cell[data-job="1"]').click()
    page.locator("#compare-b").select_option("3")
    page.locator("#compare-factor").fill("3")

    def middle() -> list[int]:
        pixel: list[int] = page.evaluate(
            """() => [...document.getElementById("compare-canvas").getContext("2d")
                .getImageData(20, 15, 1, 1).data]"""
        )
        return pixel

    # Small images are embedded without loss.
    expected = [min(255, 3 * abs(a - b)) for a, b in zip(color(1), color(3), strict=True)]
    page.wait_for_function('document.getElementById("compare-note").textContent.includes("× 3")')
    assert middle() == [*expected, 255]
    assert page.locator('.cell[data-chosen="A"]').get_attribute("data-job") == "1"
    page.locator("#compare-swap").click()
    assert page.locator("#compare-a").input_value() == "3"


def test_curves_and_the_plot_follow_their_choices(page_in_browser: Any) -> None:
    page = page_in_browser
    assert page.locator("#curve-plot path.line").count() == 4
    page.locator("#legend button").first.click()
    assert page.locator("#curve-plot path.line").count() == 3
    page.locator("#curve-loss").select_option("style")
    assert "style loss" in page.locator("#curve-plot").inner_text()
    assert page.locator("#scatter-plot path.front").count() == 1
    page.locator("#scatter-x").select_option("key:beta")
    page.locator("#scatter-y").select_option("loss:total")
    assert page.locator("#scatter-plot path.front").count() == 0  # it belongs to other numbers
    dots = page.locator("#scatter-plot circle")
    assert dots.count() == 4
    across = [float(dots.nth(n).get_attribute("cx") or "nan") for n in range(4)]
    up = [float(dots.nth(n).get_attribute("cy") or "nan") for n in range(4)]
    assert across[2] == across[3] < across[0] == across[1]
    assert up == sorted(up, reverse=True)  # the totals rise, and y grows downwards
    dots.nth(2).focus()
    assert page.locator("#scatter-read").inner_text().startswith("2: beta=0.5")


def test_command_is_copied_and_a_small_screen_is_enough(page_in_browser: Any) -> None:
    page = page_in_browser
    page.locator("#jobs tbody button").nth(3).click()
    page.wait_for_function('document.getElementById("copied").textContent')
    assert page.locator("#copied").inner_text() == "Copied: python -m nst_exp beta=0.5 style=wave"
    page.set_viewport_size({"width": 420, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 420
    assert NASTY in page.locator("#note-list").inner_text()
