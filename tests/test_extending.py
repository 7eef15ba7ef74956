"""The examples of docs/extending.md, applied to a copy of the source and run."""

import json
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


@pytest.mark.slow
@pytest.mark.parametrize("title", sections())
def test_example(title: str, tmp_path: Path) -> None:
    for folder in ("nst_exp", "configs"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for path, language, content in sections()[title]:
        if language == "bash":
            command = content
        elif language == "diff":
            apply_diff(tmp_path / path, content)
        else:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(content, encoding="utf-8")
    words = shlex.split(command)
    given = {word.lstrip("+").partition("=")[0] for word in words}
    given |= {"backbone"} if "experiment" in given else set()  # the example chooses one
    small = [text for text in TINY if text.partition("=")[0] not in given]
    done = subprocess.run(
        [sys.executable, *words[1:], *small, "out=out"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(tmp_path)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads((tmp_path / "out" / "result.json").read_text())
    assert EXPECTED[title](record, tmp_path / "out")
