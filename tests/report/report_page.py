"""The web page of a report, without its drawings, and what it shows in a browser."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nst_exp.report.axes import arrange
from nst_exp.report.entries import read_report
from nst_exp.report.html import render_page
from nst_exp.report.html_data import page_data
from nst_exp.report.table import as_csv
from nst_exp.report.tradeoff import find_tradeoff


def write_page(folders: Sequence[Path], target: Path) -> str:
    """Write the page and the table of a report without its drawings; return the page's address."""
    report = read_report(folders)
    tradeoff = find_tradeoff(report)
    data = page_data(report, "", arrange(report.rows, report.varied), tradeoff, target)
    (target / "report.html").write_text(render_page(data), encoding="utf-8")
    (target / "results.csv").write_text(as_csv(report, tradeoff), encoding="utf-8")
    return (target / "report.html").as_uri()


def cells(page: Any, name: str) -> Any:
    """Return the cells of a column of the table."""
    names = [text.strip() for text in page.locator("#jobs th").all_inner_texts()]
    return page.locator(f"#jobs tbody td:nth-child({names.index(name) + 1})")


def column(page: Any, name: str) -> list[str]:
    """Return the texts of a column of the table."""
    return [text.strip() for text in cells(page, name).all_inner_texts()]


def marked(page: Any, name: str = "is-a") -> dict[str, set[str]]:
    """Return the jobs that are marked in each section."""
    found: dict[str, set[str]] = page.evaluate(
        """(name) => Object.fromEntries(["sheet", "table", "curves", "scatter", "parallel", "time"]
            .map((id) => [id, [...document.querySelectorAll(`#${id} .${name}`)]
                .map((element) => element.dataset.jobs)]))""",
        name,
    )
    return {section: set(jobs) for section, jobs in found.items()}
