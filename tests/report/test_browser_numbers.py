"""The web page in a browser: table, filters, means and plots."""

from pathlib import Path
from typing import Any

import pytest
from report_folders import NASTY
from report_page import cells, column, marked

pytestmark = pytest.mark.slow


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
