"""The notebook of docs/notebooks runs, and its stop button loses nothing."""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest
from helpers_run import TINY, environment, picture, pixels
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from nst_exp.app import api, python_sweep
from nst_exp.app.keywords import to_overrides

DOCS = Path(__file__).resolve().parents[1] / "docs"
NOTEBOOK = DOCS / "notebooks" / "nst_exp.md"
SMALL = """settings = {
    "size": 64,
    "steps": 3,
    "trainer": {"accelerator": "cpu"},
    "overrides": "backbone=squeezenet1_1 backbone.weights=random logging.metrics=false",
}
"""


def sources(notebook: NotebookNode) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def test_both_forms_of_the_notebook_are_the_same() -> None:
    """Made by ``jupytext --to ipynb docs/notebooks/nst_exp.md``."""
    other = nbformat.read(NOTEBOOK.with_suffix(".ipynb"), as_version=4)
    assert sources(other) == sources(jupytext.read(NOTEBOOK))
    assert not any(cell.get("outputs") for cell in other.cells)


class Kernel:
    """A notebook whose cells are run one after the other."""

    def __init__(self, client: NotebookClient, folder: Path) -> None:
        self.client, self.folder = client, folder

    def run(self, source: str) -> NotebookNode:
        """Run a cell and return it with its outputs."""
        cell = nbformat.v4.new_code_cell(source)
        self.client.nb.cells.append(cell)
        return self.client.execute_cell(cell, len(self.client.nb.cells) - 1)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    folder = tmp_path_factory.mktemp("notebook")
    client = NotebookClient(
        nbformat.v4.new_notebook(), timeout=120, resources={"metadata": {"path": str(folder)}}
    )
    with client.setup_kernel(env=environment()):
        yield Kernel(client, folder)


@pytest.mark.slow
def test_notebook_runs_at_64_pixels(kernel: Kernel) -> None:
    cells = [cell.source for cell in jupytext.read(NOTEBOOK).cells if cell.cell_type == "code"]
    assert sum('"size": 256' in source for source in cells) == 1
    shown = []
    for source in cells:
        cell = kernel.run(source.replace('settings = {"size": 256, "steps": 60}', SMALL))
        shown.append([output.get("data", {}) for output in cell.outputs])
    assert sum("image/png" in data for data in shown[-2]) == 1  # the contact sheet
    assert sum("text/html" in data for data in shown[-1]) == 1  # content, style, result, curve
    assert any("widget-view" in kind for data in shown[1] for kind in data)  # the progress bar
    assert pixels(kernel.folder / "cat.png").shape == (51, 64, 3)
    assert len(list(kernel.folder.glob("outputs/balance/*/image.png"))) == 3


STOPPED = """
import os, time
from pathlib import Path
from nst_exp import stylize

def slow(step, *_):
    time.sleep(0.1)
    Path("process").write_text(str(os.getpid()))

call = {"size": 48, "steps": 40, "out": "stopped", "trainer": {"accelerator": "cpu"}}
call["overrides"] = "backbone=squeezenet1_1 backbone.weights=random logging.metrics=false"
stylize(**call, callback=slow, callback_every=1)
"""
AGAIN = """
first = []
result = stylize(**call, callback=lambda step, *_: first.append(step), callback_every=1)
print(first[0], result.status, len(result.history))
"""


@pytest.mark.slow
def test_stop_button_keeps_everything_and_the_same_call_resumes(kernel: Kernel) -> None:
    def press() -> None:
        process = kernel.folder / "process"
        while not (process.exists() and process.read_text()):
            time.sleep(0.05)
        os.kill(int(process.read_text()), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(CellExecutionError, match="stopped after step") as stop:
        kernel.run(STOPPED)
    assert stop.value.ename == "Stopped"
    assert stop.value.traceback.count("\n") < 40
    record = json.loads((kernel.folder / "stopped" / "result.json").read_text())
    assert record["status"] == "interrupted"
    assert pixels(kernel.folder / "stopped" / "image.png").shape == (32, 48, 3)
    assert (kernel.folder / "stopped" / "last.ckpt").is_file()
    assert (
        "interrupted"
        in kernel.run("import sys; sys.last_value.result.status").outputs[0]["data"]["text/plain"]
    )
    again = kernel.run(AGAIN).outputs
    printed = "".join(output.get("text", "") for output in again)
    assert f"{record['step'] + 1} done 40" in printed


@pytest.mark.slow
def test_examples_of_the_python_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = [text for text in TINY if not text.startswith(("content=", "style="))]

    def with_small(overrides: Any, settings: Any, folder: Path) -> list[str]:
        given = to_overrides(overrides, settings, folder)
        return given if "out" in settings else [*given, *small]

    for module in (api, python_sweep):
        monkeypatch.setattr(module, "to_overrides", with_small)
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "cat.jpg", (320, 240))
    picture(tmp_path / "wave.jpg", (64, 64), seed=1)
    text = (DOCS / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    assert len(names["table"]) == 6
    assert (tmp_path / "now.png").is_file()
