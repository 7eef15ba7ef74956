"""A sweep's page in headless Chromium."""

import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from report_folders import NASTY, SIZE, color, write_sweep
from report_page import write_page

from nst_exp.utils.hashing import sha256_of

VALUES = [
    {"beta": beta, "style": style, "seed": seed}
    for beta, style, seed in product(("50", "0.5"), (NASTY, "wave"), "012")
]


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
