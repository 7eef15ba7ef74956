"""What loggers hold after a run that was interrupted and resumed."""

import csv
import json
import sqlite3
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from helpers_run import stop_at, tiny_run
from PIL import Image
from pytorch_lightning.loggers.logger import DummyLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nst_exp.app.api import make_config
from nst_exp.results.sweep_plan import SweepJob, SweepPlan, write_plan
from nst_exp.runner.validate import validate
from nst_exp.utils.errors import ConfigError, Interrupted

JOB = "000_beta=2"
STEPS = [1, 2, 3, 4, 5]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A job of a sweep that was interrupted after three steps and resumed, with every logger."""
    place = tmp_path_factory.mktemp("loggers")
    installed = [name for name in ("mlflow", "trackio", "wandb") if find_spec(name)]
    folder = place / "s" / JOB
    folder.mkdir(parents=True)
    write_plan(SweepPlan(place / "s", [SweepJob(0, JOB, ["beta=2"], {"beta": "2"})], ["beta"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")
        patch.setenv("TRACKIO_DIR", str(place / "trackio"))
        for name in ("WANDB_MODE", "WANDB_DIR"):
            patch.delenv(name, raising=False)
        settings = ["beta=2", "logging.image_every=2"]
        settings.append(f"logging.loggers=[{','.join(['tensorboard', 'csv', *installed])}]")
        with patch.context() as stop:
            stop_at(stop, level=0, step=3)
            with pytest.raises(Interrupted):
                tiny_run(folder, *settings, "steps=4")
        assert not tiny_run(folder, *settings).record["warnings"]
        yield place


def trackers(place: Path) -> dict[str, str]:
    record = json.loads((place / "s" / JOB / "result.json").read_text(encoding="utf-8"))
    found: dict[str, str] = record["trackers"]
    return found


@pytest.mark.slow
def test_columns_of_tensorboard_are_left_to_the_summary_of_the_sweep(place: Path) -> None:
    events = EventAccumulator(str(place / "s" / JOB))
    events.Reload()
    assert [point.step for point in events.Scalars("loss/total")] == STEPS
    tags = events.PluginTagToContent("hparams")
    assert {tag.rpartition("/")[2] for tag in tags} == {"session_start_info", "session_end_info"}


@pytest.mark.slow
def test_csv(place: Path) -> None:
    with (place / "s" / JOB / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [*STEPS, 5]
    assert float(rows[-1]["saved/total"]) > 0
    assert "beta: 2.0" in (place / "s" / JOB / "hparams.yaml").read_text()


@pytest.mark.slow
def test_mlflow(place: Path) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    client = tracking.MlflowClient(f"sqlite:///{place}/mlflow.db")
    experiment = client.get_experiment_by_name(f"nst_exp/{place.name}/s")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_id, run.info.status) == (trackers(place)["mlflow"], "FINISHED")
    assert run.info.run_name == JOB
    assert run.data.params["beta"] == "2.0"
    assert run.data.params["folder"] == str(place / "s" / JOB)
    history = client.get_metric_history(run.info.run_id, "loss/style")
    assert [point.step for point in history] == STEPS
    assert run.data.metrics["saved/total"] > 0
    images = {item.path for item in client.list_artifacts(run.info.run_id, "images")}
    for name in ("inputs~content+step+0", "inputs~style+step+0", "image+step+5"):
        assert any(name in path for path in images), name


@pytest.mark.slow
def test_trackio(place: Path) -> None:
    pytest.importorskip("trackio")
    name = trackers(place)["trackio"]
    assert name == JOB
    with sqlite3.connect(place / "trackio" / "nst_exp.db") as database:
        rows = database.execute("SELECT run_name, step, metrics FROM metrics").fetchall()
        configs = database.execute("SELECT config FROM configs").fetchall()
    assert {row[0] for row in rows} == {JOB}
    logged = [(step, json.loads(metrics)) for _, step, metrics in rows]
    assert [step for step, values in logged if "loss/style" in values] == STEPS
    assert sorted(step for step, values in logged if "image" in values) == [0, 2, 4, 5]
    config = json.loads(configs[0][0])
    assert (config["beta"], config["_Group"]) == (2.0, f"{place.name}/s")


@pytest.mark.slow
def test_wandb_is_offline(place: Path) -> None:
    pytest.importorskip("wandb")
    folders = sorted((place / "wandb").glob(f"offline-run-*-{trackers(place)['wandb']}"))
    assert len(folders) == 2  # `wandb sync` makes them one run
    logged = b"".join(path.read_bytes() for folder in folders for path in folder.glob("*.wandb"))
    for text in (b"loss/style", b"saved/total", JOB.encode(), f"{place.name}/s".encode()):
        assert text in logged, text
    images = [path for folder in folders for path in folder.glob("files/media/images/*.png")]
    assert {Image.open(path).size for path in images} >= {(48, 32)}


def test_missing_tracker_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nst_exp.config.validate.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as refused:
        validate(make_config(["logging=mlflow"]))
    assert "logging.loggers=[mlflow]: not installed; pip install 'nst-exp[mlflow]'" in str(
        refused.value
    )


class Broken(DummyLogger):
    """A tracker whose server is gone after the first step."""

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        if step == 2:
            raise ConnectionError("no server\nat all")


def test_tracker_that_fails_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nst_exp.runner.run.start_loggers", lambda *_, **__: {"wandb": Broken()})
    record = tiny_run(None).record
    assert record["status"] == "done"
    (warning,) = [line for line in record["warnings"] if "wandb" in line]
    assert warning == "logging.loggers: wandb failed (no server); the run continues without it"
