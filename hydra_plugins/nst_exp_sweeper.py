"""A sweeper for pairs of values, where Hydra's own makes a grid; Hydra finds sweepers only here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class PlannedJobs(Sweeper):
    """Launches the jobs of the plan that is in the sweep's folder."""

    def __init__(self, max_batch_size: int | None, params: dict[str, str] | None = None) -> None:
        """Take the settings of Hydra's own sweeper; the plan has the ``params`` already."""
        self.max_batch_size = max_batch_size

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep the config and make the launcher."""
        self.config = config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Launch the jobs; the overrides ``arguments`` are in the plan."""
        from nst_exp.results.sweep_plan import launched_overrides

        assert self.config is not None
        folder = Path(self.config.hydra.sweep.dir)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        jobs = launched_overrides(folder)
        size = self.max_batch_size or len(jobs)
        done: list[Sequence[Any]] = []
        for first in range(0, len(jobs), size):
            done.append(self.launcher.launch(jobs[first : first + size], initial_job_idx=first))
            for job in done[-1]:
                _ = job.return_value  # raises what the job raised
        return done
