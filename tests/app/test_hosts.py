"""``stylize()`` inside programs that have settings, threads and Hydra apps of their own."""

import logging
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_run import TINY, environment
from hydra import compose, initialize
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase
from omegaconf import OmegaConf
from PIL import Image

from nst_exp import make_config, stylize
from nst_exp.app import api
from nst_exp.runner.module import StyleTransfer
from nst_exp.runner.network import clear_caches
from nst_exp.utils.errors import ConfigError

if sys.platform != "win32":
    from tests.faults.threads import alone, in_fresh_process

ROOT = Path(__file__).parents[2]
FORK = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")

RESOLVERS = ("hydra", "now", "python_version", "panel", "nst_panel", "nst_folder", "nst_job_folder")


def same(image: Image.Image, other: Image.Image) -> bool:
    return np.array_equal(np.asarray(image), np.asarray(other))


def state() -> dict[str, Any]:
    """Return what a program shares with the libraries that it calls."""
    Plugins.instance()  # Hydra loads them once
    loggers = [None, "nst_exp", "pytorch_lightning", "lightning_fabric", "hydra"]
    found: dict[str, Any] = {
        str(name): (logger.level, list(logger.handlers), logger.disabled, logger.propagate)
        for name, logger in ((name, logging.getLogger(name)) for name in loggers)
    }
    found |= {
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "numpy": repr(np.random.get_state()),
        "python": random.getstate(),
        "torch": torch.get_rng_state().tolist(),
        "threads": torch.get_num_threads(),
        "types": (torch.get_default_dtype(), torch.get_default_device()),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "autocast": torch.is_autocast_enabled("cpu"),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "environment": dict(os.environ),
        "hooks": (threading.excepthook, sys.excepthook, warnings.showwarning),
        "filters": list(warnings.filters),
        "others": (list(sys.argv), os.getcwd(), np.geterr(), Image.MAX_IMAGE_PIXELS),
        "store": (id(ConfigStore.instance()), tree(ConfigStore.instance().repo)),
        "hydra": (id(GlobalHydra.instance()), id(GlobalHydra.instance().hydra)),
        "job": (id(HydraConfig.instance()), HydraConfig.instance().cfg, JobRuntime.instance().conf),
        "version": VersionBase.instance().version_base,
        "resolvers": [name for name in RESOLVERS if OmegaConf.has_resolver(name)],
    }
    return found


def tree(node: Any) -> Any:
    """Return the names of a ConfigStore and the identity of what they name."""
    return {k: tree(v) for k, v in node.items()} if isinstance(node, dict) else id(node)


def fail(error: type[BaseException], *arguments: Any) -> None:
    raise error("in the middle")


ENDS = {
    "done": ((), None, None),
    "settings": (("trainer.threads=2", "trainer.deterministic=true", "steps=1"), None, None),
    "wrong key": (("step=3",), None, ConfigError),
    "wrong value": (("size=1",), None, ConfigError),
    "broken step": ((), ("training_step", RuntimeError), RuntimeError),
    "Ctrl-C at a step": ((), ("training_step", KeyboardInterrupt), KeyboardInterrupt),
    "Ctrl-C before": ((), ("configure_optimizers", KeyboardInterrupt), KeyboardInterrupt),
}


@pytest.mark.parametrize("end", ENDS)
def test_state_of_the_caller_is_as_before(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides, broken, error = ENDS[end]
    if broken is not None:
        monkeypatch.setattr(StyleTransfer, broken[0], partial(fail, broken[1]))
    monkeypatch.setenv("WORLD_SIZE", "2")  # of torchrun
    before = state()
    with pytest.raises(error) if error is not None else nullcontext():
        stylize(overrides=[*TINY, *overrides], out=tmp_path)
    after = state()
    assert {key for key, value in before.items() if after[key] != value} == set()


@dataclass
class Foreign:
    beta: str = "a schema that no run fits"


STORED = [("", "config"), ("", "schema"), ("optimizer", "lbfgs"), ("schema", "lbfgs")]


@pytest.fixture
def hydra_of_caller(tmp_path: Path) -> Iterator[None]:
    """Be a program with its own schemas, resolvers and composition."""
    store = ConfigStore.instance()
    repo, store.repo = store.repo, {"hydra": store.repo["hydra"]}
    for group, name in STORED:
        store.store(group=group or None, name=name, node=Foreign)
    OmegaConf.register_new_resolver("panel", lambda word: f"the caller's {word}")
    try:
        yield
    finally:
        store.repo = repo
        OmegaConf.clear_resolver("panel")


@pytest.mark.usefixtures("hydra_of_caller")
def test_inside_a_hydra_app() -> None:
    expected = make_config(["+experiment=paper_fig3", "panel=B"])
    with initialize(version_base="1.2", config_path=None):
        own = compose("config", ["beta=x"])
        before = state()
        assert make_config(["+experiment=paper_fig3", "panel=B"]) == expected
        with pytest.raises(ConfigError):
            make_config(["optimizer=x"])
        after = state()
        assert {key for key, value in before.items() if after[key] != value} == set()
        assert compose("config", ["beta=x"]) == own
    assert OmegaConf.create({"it": "${panel:x}"}).it == "the caller's x"


@contextmanager
def restored(change: Callable[[Any], None], value: Any, usual: Any) -> Iterator[None]:
    change(value)
    try:
        yield
    finally:
        change(usual)


HOSTS: dict[str, Callable[[], Any]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": partial(torch.autocast, "cpu", torch.bfloat16),
    "float64": partial(restored, torch.set_default_dtype, torch.float64, torch.float32),
    "device": partial(torch.device, "meta"),
    "default device": partial(restored, torch.set_default_device, "meta", None),
    "deterministic": partial(restored, torch.use_deterministic_algorithms, True, False),
    "numpy errors": partial(np.errstate, all="raise"),
    "warnings are errors": partial(warnings.catch_warnings, action="error"),
}


@pytest.mark.parametrize("host", HOSTS)
def test_same_image_whatever_the_caller_has_set(host: str) -> None:
    overrides = [*TINY, "resolution=pyramid", "resolution.min_size=32", "optimizer=adam"]
    with HOSTS[host]():
        before = state()
        result = stylize(overrides=overrides)
        after = state()
    assert {key for key, value in before.items() if after[key] != value} == set()
    clear_caches()
    usual = stylize(overrides=overrides)
    assert same(result.image, usual.image)
    assert result.losses == usual.losses


@FORK
@pytest.mark.parametrize("earlier", [[], ["size=64"]])
def test_two_calls_at_the_same_time(earlier: list[str]) -> None:
    pair = ["seed=1", "beta=50"]
    assert in_fresh_process(pair, 0.1, earlier) == [alone(call) for call in pair]


FORKED = """
import multiprocessing, os, torch
from tests.faults import TINY

def image():
    from nst_exp import stylize
    return stylize(overrides=[*TINY, "steps=1", "trainer.threads=2"]).image.tobytes()

torch.set_num_threads(2)
torch.randn(500, 500) @ torch.randn(500, 500)  # starts torch's threads
with multiprocessing.get_context("fork").Pool(1) as pool:  # before nst_exp is imported
    found = pool.apply_async(image).get(timeout=60)
expected = image()
assert found == expected
child = os.fork()
if child == 0:
    os._exit(image() != expected)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@FORK
@pytest.mark.slow
def test_forked_process_does_not_wait_for_the_threads_of_its_parent() -> None:
    command = [sys.executable, "-c", FORKED]
    subprocess.run(command, cwd=ROOT, env=environment(), check=True, timeout=90)


@FORK
def test_fork_during_a_call_of_another_thread_is_refused() -> None:
    holds, ends = threading.Event(), threading.Event()

    def call() -> None:
        with api.alone():
            holds.set()
            ends.wait()

    thread = threading.Thread(target=call)
    thread.start()
    holds.wait()
    try:
        with multiprocessing.get_context("fork").Pool(1) as pool:
            message = pool.apply_async(make_config_or_error).get(timeout=60)
    finally:
        ends.set()
        thread.join()
    assert message.startswith("this process was forked while another thread was in stylize()")
    assert make_config(TINY).size == 48


def make_config_or_error() -> str:
    try:
        return str(make_config())
    except ConfigError as error:
        return str(error)
