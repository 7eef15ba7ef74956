"""Eight reference runs against the losses and pixels that version 0.1 gave.

On the processor and with the version of PyTorch of the record, the pixels must be the same bytes
and the losses the same to 1e-6. Elsewhere sums are rounded differently and L-BFGS amplifies this:
there the losses of the first step are compared within 2e-2 and those of the last within 0.2
(measured with another instruction set: at most 4e-3 and 8e-2).

After a change that is meant to change the numbers, record the cases that it changes again with

    python tests/test_reference_runs.py CASE...
"""

import csv
import hashlib
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_run import forked_command
from PIL import Image

RECORDS = Path(__file__).parent / "data" / "reference_runs.json"
COMMON = ["trainer.threads=1", "size=96", "steps=12", "logging.progress=false"]
CASES: dict[str, list[str]] = {
    "defaults": [],
    "init_noise": ["init=noise"],
    "adam": ["optimizer=adam"],
    "pyramid": ["resolution=pyramid", "resolution.min_size=48"],
    "crowsonkb": ["loss=crowsonkb"],
    "squeezenet": ["backbone=squeezenet1_1"],
    "paper_fig3": ["+experiment=paper_fig3"],
    "sweep": ["-m", "beta=1,10", "seed=0,1", "init=noise"],
}
COLUMNS = ("total", "content", "style", "tv")
Record = dict[str, Any]


def machine() -> dict[str, str]:
    """Return what decides how sums are rounded."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return {
        "torch": torch.__version__.partition("+")[0],
        "capability": torch.backends.cpu.get_cpu_capability(),
        "processor": model[1] if model else "unknown",
    }


def describe(folder: Path) -> Record:
    """Return the hash of the image's pixels, and the first and last rows of losses.csv."""
    with Image.open(folder / "image.png") as image:
        pixels = np.asarray(image.convert("RGB")).tobytes()
    with (folder / "losses.csv").open(encoding="utf-8", newline="") as stream:
        rows = [{name: float(row[name]) for name in COLUMNS} for row in csv.DictReader(stream)]
    return {"sha256": hashlib.sha256(pixels).hexdigest(), "first": rows[0], "last": rows[-1]}


def run_case(case: str, out: Path) -> dict[str, Record]:
    """Run a case and return its records by name; a sweep has one per job."""
    done = forked_command(out.parent, *CASES[case], *COMMON, f"out={out}")
    assert done.returncode == 0, done.stdout + done.stderr
    if case != "sweep":
        return {case: describe(out)}
    return {f"{case}/{path.parent.name}": describe(path.parent) for path in out.glob("*/image.png")}


def relative_difference(found: dict[str, float], expected: dict[str, float]) -> float:
    """Return the largest relative difference of the columns; 0 counts as a millionth of total."""
    least = 1e-6 * expected["total"]
    return max(abs(found[name] - value) / max(value, least) for name, value in expected.items())


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("case", CASES)
def test_run_gives_the_recorded_numbers(case: str, tmp_path: Path) -> None:
    recorded = json.loads(RECORDS.read_text(encoding="utf-8"))
    same_machine = recorded["machine"] == machine()
    first, last = (1e-6, 1e-6) if same_machine else (2e-2, 0.2)
    expected = {name: run for name, run in recorded["runs"].items() if name.split("/")[0] == case}
    found = run_case(case, tmp_path / "out")
    assert found.keys() == expected.keys()
    for name, record in expected.items():
        assert relative_difference(found[name]["first"], record["first"]) <= first, name
        assert relative_difference(found[name]["last"], record["last"]) <= last, name
        assert not same_machine or found[name]["sha256"] == record["sha256"], name


def record(cases: list[str]) -> None:
    """Replace the records of these cases, or of all."""
    recorded = json.loads(RECORDS.read_text(encoding="utf-8"))
    if cases and recorded["machine"] != machine():
        sys.exit("the other cases were recorded on another machine; record all")
    for case in cases or CASES:
        with tempfile.TemporaryDirectory() as folder:
            recorded["runs"] |= run_case(case, Path(folder) / "out")
    recorded["machine"] = machine()
    RECORDS.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    record(sys.argv[1:])
