"""scripts/write_gallery.py."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.report.report_folders import change_record, write_job, write_sweep

ROOT = Path(__file__).resolve().parents[2]
CAT = {"path": "cat.jpg", "sha256": "0", "credit": "A cat, Ann Author, CC0"}


def test_page_of_a_sweep_and_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    from write_gallery import main

    sweep = write_sweep(tmp_path / "Two values", [{"beta": "1"}, {"beta": "2"}])
    plan = json.loads((sweep / "sweep.json").read_text())
    plan["command"] = ["--multirun", "beta=1,2", "content=my cat.jpg", "out=x"]
    (sweep / "sweep.json").write_text(json.dumps(plan))
    Image.new("RGB", (3000, 60), "red").save(sweep / "sheet.png")
    run = write_job(tmp_path / "One run", overrides=["beta=3", "logging.progress=false"])
    change_record(run, inputs={"content": CAT})
    docs = tmp_path / "docs"
    (docs / "images").mkdir(parents=True)

    assert main([str(sweep), str(run)], docs) == 0
    page = (docs / "gallery.md").read_text()
    assert "python -m nst_exp -m beta=1,2 'content=my cat.jpg'\n" in page
    assert "python -m nst_exp beta=3\n" in page
    assert page.count("A cat, Ann Author, CC0") == 1
    for name in ("gallery_two_values.jpg", "gallery_one_run.jpg"):
        assert f"(images/{name})" in page
        with Image.open(docs / "images" / name) as image:
            assert 100 < image.width <= 1000


def test_folder_without_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    from write_gallery import main

    assert main([str(tmp_path)], tmp_path) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}: holds no run")
    assert not (tmp_path / "gallery.md").exists()
