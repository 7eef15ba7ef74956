"""Validation asks every check, reports every problem at once, and needs no torch."""

import subprocess
import sys

import pytest

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


@pytest.mark.parametrize("module", ["nst_exp", "nst_exp.app.main", "nst_exp.runner.validate"])
def test_no_torch_before_the_config_is_valid(module: str) -> None:
    code = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
