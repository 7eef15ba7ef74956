"""What Tab offers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nst_exp.app.completion import complete


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with images, one of them with a blank in its name."""
    monkeypatch.chdir(tmp_path)
    for name in ("cat.jpg", "cats.png", "my cat.jpg", ".cat.jpg", "photos/wave.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "mine/loss").mkdir(parents=True)
    (tmp_path / "mine/loss/soft.yaml").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("con", ["content=", "content_map="]),
        ("lo", ["logging.", "logging=", "loss.", "loss="]),
        ("loss.tv.w", ["loss.tv.weight="]),
        ("optimizer.", None),
        ("+", ["+experiment="]),
        ("content=ca", ["content=cat.jpg", "content=cats.png"]),
        ("content=summer", ["content=summer_palace"]),
        ("style=[cat.jpg,ph", ["style=[cat.jpg,photos/"]),
        ("-m style=cat.jpg,photos/w", ["style=cat.jpg,photos/wave.jpg"]),
        ("init.file=ph", ["init.file=photos/"]),
        ("optimizer=a", ["optimizer=adam"]),
        ("+experiment=pap", None),
        ("--config-dir mine loss=so", ["loss=soft"]),
        ("--config-dir mi", ["mine/"]),
        ("fail_fast=", ["fail_fast=false", "fail_fast=true"]),
        ("trainer.accelerator=c", ["trainer.accelerator=cpu", "trainer.accelerator=cuda"]),
        ("--mu", ["--multirun"]),
        ("beta=", []),
        ("content=none/", []),
    ],
)
def test_offered(typed: str, offered: list[str] | None) -> None:
    found = complete(f"nst-exp {typed}")
    assert found if offered is None else found == offered
    assert all(word.startswith(typed.split(" ")[-1]) for word in found)


def test_every_key_and_no_internal_name() -> None:
    found = complete("nst-exp ")
    assert {"content=", "beta=", "backbone=", "trainer.", "+experiment=", "from_image="} <= {*found}
    assert not [word for word in found if word.startswith(("schema", "hydra"))]
    assert "optimizer.kind=" not in complete("nst-exp optimizer.")
    assert "experiment=" not in found


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
def test_bash_completes_a_file_through_hydras_script(folder: Path) -> None:
    script = """
    eval "$(nst-exp -sc install=bash)"
    COMP_LINE='nst-exp content=cats' COMP_CWORD=1 COMP_POINT=20
    hydra_bash_completion
    echo "${COMPREPLY[@]}"
    """
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=os.environ | {"PATH": path}
    )
    assert done.stdout == "content=cats.png\n", done.stderr
