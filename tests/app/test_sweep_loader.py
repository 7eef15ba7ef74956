"""Jobs composed from what they share against Hydra's own composition."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import pytest
from helpers_run import TINY
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from nst_exp.app import main as cli
from nst_exp.app.compose import register
from nst_exp.app.sweep import config_cache as sweep_loader
from nst_exp.app.sweep.config_cache import SweepLoader, share_presets
from nst_exp.config.presets import groups
from nst_exp.utils.paths import CONFIGS

MASTER = ["seed=range(3)", "hydra.job.name=somebody"]  # of the command; its hydra keys hold for all
PRESETS = [
    f"{'+' if group == 'experiment' else ''}{group}={name}"
    for group, names in groups().items()
    for name in names
]
VALUES = [
    "seed=3",
    "beta=1e2",
    "alpha=0",
    "size=64",
    "content='a b, c.jpg'",
    "out=null",
    "loss.style.layers=[relu1_1,relu2_1]",
    "loss.tv.weight=0.5",
    "optimizer.history=7",  # lbfgs alone has it
    "init={kind: content}",  # a group's keys, by hand
    "logging={every: 3}",
]
RARE = [
    "+loss.extra=1",
    "++seed=4",
    "~panel",
    "~init",
    "hydra.job.name=b",
    "trainer.threads=x",
    "nothing=1",
    "beta.x=1",
    "init@loss=noise",
    "style=",
    "size=${steps}",
    "beta=1,2",
    "seed",
]


@pytest.fixture(scope="module")
def loaders() -> tuple[DictConfig, ConfigLoader, SweepLoader]:
    register()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
    master = loader.load_configuration("config", MASTER, RunMode.MULTIRUN)
    return master, loader, SweepLoader(loader)


def outcome(loader: ConfigLoader, master: DictConfig, overrides: list[str]) -> object:
    """All that a launcher or a job can see of the config, or the error."""
    try:
        config = loader.load_sweep_config(master, overrides)
    except Exception as error:
        return type(error), str(error), str(error.__cause__)
    assert OmegaConf.get_cache(config) == OmegaConf.get_cache(master)
    flags = [OmegaConf.is_struct(node) for node in (config, config.hydra, config.get("loss"))]
    flags += [OmegaConf.is_readonly(node) for node in (config, config.hydra)]
    types = [OmegaConf.get_type(config, key) for key in config]
    return OmegaConf.to_container(config), flags, types


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_composed_as_hydra_does(
    loaders: tuple[DictConfig, ConfigLoader, SweepLoader], preset: str
) -> None:
    master, hydras, ours = loaders
    job = [preset, "seed=3", "beta=1e2"]
    found = outcome(ours, master, job)
    assert isinstance(found, tuple)
    assert isinstance(found[0], dict)
    assert found == outcome(hydras, master, job)


@settings(max_examples=40, deadline=None)  # 0.2 s each
@given(
    st.permutations(PRESETS).map(lambda every: every[:3]),
    st.lists(st.sampled_from(VALUES), max_size=4),
    st.lists(st.sampled_from(RARE), max_size=1),
    st.randoms(use_true_random=False),
)
def test_any_job_is_composed_or_refused_as_by_hydra(
    loaders: tuple[DictConfig, ConfigLoader, SweepLoader],
    presets: list[str],
    values: list[str],
    rare: list[str],
    random: object,
) -> None:
    master, hydras, ours = loaders
    job = [*presets, *values, *rare]
    random.shuffle(job)  # type: ignore[attr-defined]
    assert outcome(ours, master, job) == outcome(hydras, master, job)


def test_presets_are_composed_once(
    loaders: tuple[DictConfig, ConfigLoader, SweepLoader], monkeypatch: pytest.MonkeyPatch
) -> None:
    master, hydras, _ = loaders
    ours, asked = SweepLoader(hydras), []
    compose = hydras.load_sweep_config

    def counted(master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        asked.append(sweep_overrides)
        return compose(master_config, sweep_overrides)

    monkeypatch.setattr(hydras, "load_sweep_config", counted)
    for seed, init in itertools.product(range(5), ("noise", "content")):
        config = ours.load_sweep_config(master, [f"seed={seed}", f"init={init}"])
        assert (config.seed, config.init.kind.name) == (seed, init)
    assert asked == [["init=noise"], ["init=content"]]


def test_no_more_are_kept_than_a_process_should_hand_on(
    loaders: tuple[DictConfig, ConfigLoader, SweepLoader], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first ones stay: the jobs are gone through several times in the same order."""
    monkeypatch.setattr(sweep_loader, "_MOST", 1)
    master, hydras, _ = loaders
    ours = SweepLoader(hydras)
    for job in 2 * (["init=noise", "seed=1"], ["init=content", "seed=2"], ["init=noise"]):
        assert outcome(ours, master, job) == outcome(hydras, master, job)
    assert len(ours._composed) == 1


def test_a_folder_without_presets_is_a_group_to_hydra(tmp_path: Path) -> None:
    (tmp_path / "content").mkdir()
    (tmp_path / "config.yaml").write_text("content: a\n")
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        hydras = GlobalHydra.instance().config_loader()
    master = hydras.load_configuration("config", [], RunMode.MULTIRUN)
    found = outcome(SweepLoader(hydras), master, ["content=b"])
    assert found == outcome(hydras, master, ["content=b"])
    assert "content" in str(found)


def test_a_real_sweep_is_composed_this_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    composed = []
    compose = ConfigLoaderImpl._load_configuration_impl

    def counted(self: ConfigLoaderImpl, *args: object, **kwargs: object) -> DictConfig:
        composed.append(kwargs.get("overrides"))
        return compose(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(ConfigLoaderImpl, "_load_configuration_impl", counted)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["nst-exp", "-m", *TINY, "seed=range(3)", "out=s"])
    cli.main()
    assert len(list(tmp_path.glob("s/*/image.png"))) == 3
    # Twice for the command itself, as Hydra does, and once for what the jobs share.
    assert len(composed) == 3


def test_jobs_do_not_share_their_values(
    loaders: tuple[DictConfig, ConfigLoader, SweepLoader],
) -> None:
    master, _, ours = loaders
    first = ours.load_sweep_config(master, ["loss.style.layers=[relu1_1]"])
    first.content = "changed"
    second = ours.load_sweep_config(master, ["seed=1"])
    assert second.content != "changed"
    assert list(second.loss.style.layers) == []


def test_goes_to_other_processes(loaders: tuple[DictConfig, ConfigLoader, SweepLoader]) -> None:
    master, hydras, ours = loaders
    ours.load_sweep_config(master, ["seed=1"])
    there = pickle.loads(pickle.dumps(ours))
    job = ["seed=2", "init=noise"]
    assert outcome(there, master, job) == outcome(hydras, master, job)


def test_a_preset_that_changes_meanwhile_does_not_matter(tmp_path: Path) -> None:
    folder = tmp_path / "configs"
    (folder / "init").mkdir(parents=True)
    (folder / "config.yaml").write_text("defaults: [init: mine, _self_]\nseed: 0\n")
    (folder / "init" / "mine.yaml").write_text("kind: noise\n")
    with initialize_config_dir(str(folder), version_base="1.3"):
        share_presets()
        share_presets()  # once is enough
        ours = GlobalHydra.instance().config_loader()
        assert isinstance(ours, SweepLoader)
        master = ours.load_configuration("config", [], RunMode.MULTIRUN)
        assert ours.load_sweep_config(master, ["seed=1"]).init.kind == "noise"
        (folder / "init" / "mine.yaml").write_text("kind: [")
        job = ours.load_sweep_config(master, ["seed=2"])
        assert (job.seed, job.init.kind) == (2, "noise")
        with pytest.raises(YAMLError):
            ours.load_sweep_config(master, ["seed=2", "+more=1"])  # Hydra reads it again
