"""Validation asks every check, reports every problem at once, and needs no torch."""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers_run import picture

from nst_exp.app.api import make_config
from nst_exp.runner.validate import validate
from nst_exp.utils.errors import ConfigError


def test_all_problems_come_in_one_error() -> None:
    validate(make_config())
    wrong = ["steps=0", "content=nope", "trainer.precision=16-mixed", "loss.style.layers=[relu9]"]
    with pytest.raises(ConfigError) as caught:
        validate(make_config(wrong))
    keys = [line.partition(":")[0] for line in caught.value.problems]
    assert keys == ["steps=0", "content=nope", "loss.style.layers", "trainer.precision=16-mixed"]
    with pytest.raises(ConfigError, match=r"^size=8: relu5_1 needs at least 16 pixels"):
        validate(make_config(["size=8"]))
    with pytest.raises(ConfigError, match=r"^resolution\.sizes=\[9,8\]: must increase"):
        validate(make_config(["resolution=pyramid", "resolution.sizes=[9,8]"]))


def test_least_sizes_are_known_before_any_work(tmp_path: Path) -> None:
    wide = picture(tmp_path / "wide.jpg", (2000, 200))
    words = [f"content={wide}", "resolution=pyramid", "size=1024"]
    with pytest.raises(ConfigError, match=r"^resolution\.min_size=128: relu5_1 .*min_size=155"):
        validate(make_config(words))
    validate(make_config([*words, "resolution.min_size=155"]))


@pytest.mark.parametrize("module", ["nst_exp", "nst_exp.app.main", "nst_exp.runner.validate"])
def test_no_torch_before_the_config_is_valid(module: str) -> None:
    code = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
