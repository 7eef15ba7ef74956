"""The examples of docs/extending.md, applied to a copy of the source and run."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers_run import TINY, environment

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"(?:^\*\*`(\S+)`\*\*\n\n)?^```(\w+)\n(.*?)^```$", re.M | re.S)


def sections() -> dict[str, list[tuple[str, str, str]]]:
    """Language, path and content of each code block, by the heading above it."""
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    found = (section.partition("\n") for section in text.split("\n## ")[1:])
    return {title: blocks for title, _, body in found if (blocks := FENCE.findall(body))}


def apply_diff(path: Path, diff: str) -> None:
    """Replace the lines before by the lines after; lines with a space are in both."""
    lines = diff.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] != "+")
    after = "".join(line[1:] for line in lines if line[0] != "-")
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{path.name}: {before}"
    path.write_text(text.replace(before, after), encoding="utf-8")


EXPECTED = {
    "A statistic of style": lambda record, out: "third/relu1" in record["losses"],
    "A loss term": lambda record, out: record["losses"]["saturation"] > 0,
    "A backbone": lambda record, out: record["config"]["backbone"]["name"] == "densenet121",
    "An experiment": lambda record, out: record["layers"]["style"] == ["relu1", "fire3"],
    "A logger": lambda record, out: len((out / "losses.jsonl").read_text().splitlines()) == 5,
}


def test_every_section_is_tested() -> None:
    assert sections().keys() == EXPECTED.keys()


# The commands one after another, each in a process forked from this one.
COMMANDS = """
import json, sys
from pathlib import Path
from tests.faults.commands import run

for folder, arguments in json.loads(sys.argv[1]).items():
    printed = Path(folder).with_suffix(".txt")
    assert run([*arguments, f"out={folder}"], printed).code == 0, printed.read_text()
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Apply all examples to one copy of the source, and run their commands."""
    copy = tmp_path_factory.mktemp("copy")
    for folder in ("nst_exp", "configs"):
        shutil.copytree(ROOT / folder, copy / folder)
    commands: dict[str, list[str]] = {}
    for title, blocks in sections().items():
        for path, language, content in blocks:
            if language == "bash":
                words = shlex.split(content)[3:]
                given = {word.lstrip("+").partition("=")[0] for word in words}
                given |= {"backbone"} if "experiment" in given else set()  # the example's own
                small = [text for text in TINY if text.partition("=")[0] not in given]
                commands[str(copy / title)] = [*words, *small]
            elif language == "diff":
                apply_diff(copy / path, content)
            else:
                (copy / path).parent.mkdir(parents=True, exist_ok=True)
                (copy / path).write_text(content, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)],
        cwd=copy,
        env=environment(PYTHONPATH=os.pathsep.join([str(copy), str(ROOT)])),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return copy


@pytest.mark.slow
@pytest.mark.parametrize("title", sections())
def test_example(title: str, results: Path) -> None:
    record: dict[str, Any] = json.loads((results / title / "result.json").read_text())
    assert EXPECTED[title](record, results / title)
