"""Composes a sweep's jobs from what they share, instead of reading every preset for every job."""

from __future__ import annotations

import pickle
from typing import Any, cast

from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigSource
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

_MOST = 128  # compositions that are kept, one for each choice of presets; 27 kB each


class SweepLoader(ConfigLoader):
    """Hydra's loader, quicker at the configs of a sweep's jobs.

    Jobs that choose the same presets differ in values only: what the presets make is composed once,
    and each job's values are put into a copy. A preset file that changes while a sweep runs is
    therefore no longer looked at. Hydra's own loader does whatever is not that simple,
    and words every error.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._composed: dict[tuple[str, ...], bytes] = {}
        self._groups: dict[str, bool] = {}

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        """The config of the job with these overrides, ``hydra`` included."""
        try:
            overrides = OverridesParser.create().parse_overrides(sweep_overrides)
            presets = [o for o in overrides if self._chooses_preset(o)]
            values = [o for o in overrides if o not in presets]
            if all(_is_plain(override) for override in values):
                config = self._from_shared(master_config, overrides, presets, values)
                if config is not None:
                    return config
        except (HydraException, OmegaConfBaseException):
            pass  # comes again, in Hydra's words
        return self._loader.load_sweep_config(master_config, sweep_overrides)

    def _chooses_preset(self, override: Override) -> bool:
        if override.is_hydra_override() or isinstance(override.value(), dict):
            return False
        key = override.key_or_group
        if key not in self._groups:
            self._groups[key] = any(s.is_group(key) for s in self._loader.get_sources())
        return override.package is not None or self._groups[key]

    def _from_shared(
        self,
        master: DictConfig,
        overrides: list[Override],
        presets: list[Override],
        values: list[Override],
    ) -> DictConfig | None:
        config = self._shared(master, [str(o.input_line) for o in presets])
        for override in values:
            branch = OmegaConf.is_config(OmegaConf.select(config, override.key_or_group))
            if branch and not isinstance(override.value(), dict | list):
                return None  # perhaps a group that only the search path of this command has
            OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
        job = config.hydra.job
        config.hydra.overrides.task = [override.input_line for override in overrides]
        job.override_dirname = get_overrides_dirname(
            overrides=overrides, **job.config.override_dirname
        )
        OmegaConf.copy_cache(from_config=master, to_config=config)
        return config

    def _shared(self, master: DictConfig, presets: list[str]) -> DictConfig:
        name = (*master.hydra.overrides.hydra, "", *presets)
        if name not in self._composed:
            composed = self._loader.load_sweep_config(master, presets)
            if len(self._composed) < _MOST:  # the first, since all are asked for in turn, twice
                self._composed[name] = pickle.dumps(composed)  # a third of deepcopy's time
            return composed
        return cast(DictConfig, pickle.loads(self._composed[name]))

    # The rest is Hydra's.

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Hydra's."""
        return self._loader.load_configuration(
            config_name, overrides, run_mode, from_shell, validate_sweep_overrides
        )

    def get_search_path(self) -> ConfigSearchPath:
        """Hydra's."""
        return self._loader.get_search_path()

    def get_sources(self) -> list[ConfigSource]:
        """Hydra's."""
        return self._loader.get_sources()

    def list_groups(self, parent_name: str) -> list[str]:
        """Hydra's."""
        return self._loader.list_groups(parent_name)

    def get_group_options(
        self,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        """Hydra's."""
        return self._loader.get_group_options(group_name, results_filter, config_name, overrides)

    def compute_defaults_list(
        self, config_name: str | None, overrides: list[str], run_mode: RunMode
    ) -> Any:
        """Hydra's."""
        return self._loader.compute_defaults_list(config_name, overrides, run_mode)


def share_presets() -> None:
    """From now on the jobs of the sweep that Hydra is about to start are composed this way."""
    application = GlobalHydra.instance().hydra
    if application is not None and not isinstance(application.config_loader, SweepLoader):
        # Hydra's class names its own loader as the type, and uses what any loader has.
        application.config_loader = cast(Any, SweepLoader(application.config_loader))


def _is_plain(override: Override) -> bool:
    """KEY=VALUE for a key that exists; order matters among additions and removals."""
    added = override.is_add() or override.is_force_add()
    return not (added or override.is_delete() or override.is_hydra_override())
