"""What libraries do by default and must not happen here; docs/reliability.md names the tests."""

import re
from pathlib import Path

import pytest
import torch
from helpers_run import tiny_run

ROOT = Path(__file__).parents[1]


def test_every_trap_has_its_test() -> None:
    table = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8").split("## Traps")[1]
    named = re.findall(r"`(test_\w+)`", table)
    sources = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/*.py"))
    assert len(re.findall(r"(?m)^\| .* \| .* \|$", table.split("## Proof")[0])) == 20 + 1
    assert [name for name in named if f"def {name}(" not in sources] == []


def test_only_pillow_decodes_pictures() -> None:
    """torchvision's decoder ends the process on some damaged files."""
    used = re.compile(r"torchvision\.io|decode_image|read_image|cv2|imageio(?!.ffmpeg)")
    for path in ROOT.glob("nst_exp/**/*.py"):
        assert not used.search(path.read_text(encoding="utf-8")), path


@pytest.mark.slow
def test_number_of_threads_is_a_setting_and_in_the_record(tmp_path: Path) -> None:
    """L-BFGS ends elsewhere with another one."""
    before = torch.get_num_threads()
    for number in (2, 1):
        record = tiny_run(tmp_path / str(number), f"trainer.threads={number}").record
        assert (record["threads"], torch.get_num_threads()) == (number, before)
