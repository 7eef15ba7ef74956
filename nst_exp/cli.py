"""The command line: Hydra's entry, the words on the screen, the exit codes. No torch is imported
before the config has been found right, so that help, completion and mistakes are quick."""

from __future__ import annotations

import logging
import os
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from nst_exp import config as schema
from nst_exp.assets import input_hashes
from nst_exp.checks import check
from nst_exp.complaints import complaint
from nst_exp.compose import groups, register, to_config
from nst_exp.errors import ConfigError, NstError, OutputError
from nst_exp.figure import NAME, job_folders, write_figures
from nst_exp.jobs import read_job
from nst_exp.paths import CONFIGS
from nst_exp.record import fingerprint, look_into
from nst_exp.sweep import Sweep, folder_of_job, note_failure, plan
from nst_exp.sweep_progress import SweepProgress

log = logging.getLogger("nst_exp")


_VARIED = "NST_EXP_VARIED"  # in the environment, so that the workers of a launcher know it too


def _varied(arguments: list[str]) -> list[str]:
    """The keys that a sweep varies, as Hydra's own parser sees it."""
    try:
        overrides = OverridesParser.create().parse_overrides(arguments)
    except HydraException:
        return []  # Hydra says what is wrong, in a moment
    return [
        override.get_key_element().lstrip("+")
        for override in overrides
        if override.is_sweep_override()
    ]


def _job_folder(sweep: str, number: Any, overrides: list[str], params: Any = None) -> str:
    """The name of a job's folder; ``params`` is an experiment's own sweep."""
    varied = [*os.environ.get(_VARIED, "").split(), *(params or {})]
    return folder_of_job(sweep, number, overrides, varied)


def _list_groups() -> str:
    lines = [
        textwrap.fill(
            f"{group:<11} {', '.join(names) or '(none yet)'}", 96, subsequent_indent=" " * 12
        )
        for group, names in groups().items()
    ]
    return "\n".join(f"  {line}" for text in lines for line in text.splitlines())


def _folder(out: str | None, name: str, date: str, time: str) -> str:
    return str(Path(out).expanduser()) if out else f"outputs/{name}/{date}_{time}"


def _register() -> None:
    register()
    resolvers: dict[str, Callable[..., Any]] = {
        "nst_folder": _folder,
        "nst_job_folder": _job_folder,
        "nst_groups": _list_groups,
    }
    for name, function in resolvers.items():
        OmegaConf.register_new_resolver(name, function, replace=True)


_register()


def _fail(error: NstError) -> int:
    for problem in getattr(error, "problems", [str(error)]):
        print(f"error: {problem}", file=sys.stderr, flush=True)
    return error.exit_code


class CheckFirst(Callback):
    """Refuses a bad config before Hydra makes the run's folder."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called before a single run."""
        plain = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        try:
            typed = to_config(plain)
            check(typed)
            # Hydra writes its own files into the folder even before the run can refuse it.
            with suppress(OSError):  # of a picture that cannot be read; loading it says so
                mark = fingerprint(typed, input_hashes(typed))
                look_into(Path(config.hydra.run.dir), mark, typed.image, typed.overwrite)
        except NstError as error:
            sys.exit(_fail(error))


class SweepJobs(Callback):
    """Plans a sweep before its first job starts, and shows how far it is."""

    folder: ClassVar[Path | None] = None  # of the sweep that this process has started
    sweep: ClassVar[Sweep | None] = None  # its jobs, where they are known beforehand
    progress: ClassVar[SweepProgress | None] = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called before the jobs of a sweep, which find the time of day in ``dir`` as it is now."""
        SweepJobs.folder = Path(config.hydra.sweep.dir)
        try:
            sweep = SweepJobs.sweep = plan(config)
        except NstError as error:
            SweepJobs.folder = None  # nothing was begun there
            sys.exit(_fail(error))
        except (HydraException, OmegaConfBaseException) as error:  # Hydra would swallow them here
            SweepJobs.folder = None
            sys.exit(_fail(ConfigError(complaint(error, sys.argv[1:]))))
        if sweep is None:
            return
        done = sweep.done()
        there = f", {done} of them done already" if done else ""
        _print(f"{len(sweep.jobs)} jobs{there}: {_shown(sweep.folder)}")
        if str(config.hydra.launcher._target_).endswith(".BasicLauncher"):
            SweepJobs.progress = SweepProgress(sweep, config.logging.progress)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called before each job, in the process that does it."""
        if SweepJobs.progress is not None:
            _print(SweepJobs.progress.start())

    def on_job_end(self, config: DictConfig, job_return: Any, **kwargs: Any) -> None:
        """Called behind each job, in the process that does it."""
        if SweepJobs.progress is not None:
            SweepJobs.progress.finish()


def _write_figures(jobs: list[Path], folder: Path, say: Callable[[str], None]) -> None:
    try:
        for path in write_figures(jobs, folder / NAME):
            say(f"figure: {path}")
    except (NstError, OSError) as error:
        raise OutputError(f"the figure was not written: {error}") from error


def _end_of_sweep(interrupted: bool) -> int:
    """Show what the sweep made and write its report; the exit code that it calls for."""
    folder, sweep = SweepJobs.folder, SweepJobs.sweep
    if SweepJobs.progress is not None:
        SweepJobs.progress.close()
    if folder is None:
        return 0
    jobs = job_folders(folder) if sweep is None else [f for f in sweep.folders if f.is_dir()]
    failed = sum(read_job(job).status == "failed" for job in jobs)
    code = 1 if failed else 0
    try:
        _write_figures(jobs, _shown(folder), _print)
    except OutputError as error:
        code = code or _fail(error)
    return code


def _shown(folder: Path) -> Path:
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _print(line: str) -> None:
    print(line, flush=True)


def _say(line: str) -> None:
    _print(line)
    log.info(line)


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")
def _hydra_main(cfg: DictConfig) -> None:
    hydra_config = HydraConfig.get()
    shown = _shown(Path(hydra_config.runtime.output_dir))
    sweeping = hydra_config.mode is RunMode.MULTIRUN
    config = None
    try:
        config = to_config(cfg)
        check(config)
        from nst_exp.run import run  # torch comes in here

        result = run(config, shown, report=_say, handle_signals=True)
        shown_losses = [f"{n} {result.losses[n]:.3e}" for n in ("total", "content", "style")]
        cost = f"{result.record['seconds']:.0f} s, {result.record['evaluations']} evaluations"
        _say(f"{', '.join(shown_losses)}; {cost}")
        _say(f"result: {result.path}")
        if not sweeping:
            _write_figures([shown], shown, _say)
    except NstError as error:
        for problem in getattr(error, "problems", [str(error)]):
            log.error(problem)
        code = _fail(error)
        if not sweeping or code in (130, 143):
            sys.exit(code)
        _job_failed(shown, config, error)
    except Exception as error:
        if not sweeping:
            raise
        log.exception("a bug, or something that nobody foresaw")
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        _job_failed(shown, config, error)


def _job_failed(folder: Path, config: schema.Config | None, error: Exception) -> None:
    """Leave a record; the other jobs of the sweep go on unless it is to stop at the first."""
    note_failure(folder, config, error)
    if config is not None and config.fail_fast:
        print("fail_fast=true: the sweep stops here", file=sys.stderr, flush=True)
        sys.exit(1)


def main() -> None:
    """Entry of ``python -m nst_exp`` and of the console script; exits with the codes of errors."""
    SweepJobs.folder = SweepJobs.sweep = SweepJobs.progress = None
    try:
        _launch()
    except BaseException as error:  # sys.exit among them: the report also shows what failed
        code = _end_of_sweep(interrupted=True)
        if isinstance(error, SystemExit) and error.code == 1 and code > 1:
            sys.exit(code)
        raise
    if code := _end_of_sweep(interrupted=False):
        sys.exit(code)


def _launch() -> None:
    # Exceptions come through to here instead of being printed by Hydra with its own exit codes.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    arguments = sys.argv[1:]
    try:
        if any(argument.startswith("from_image=") for argument in arguments):
            from nst_exp.from_image import expand

            sys.argv[1:] = arguments = expand(arguments)
        os.environ[_VARIED] = " ".join(_varied([a for a in arguments if not a.startswith("-")]))
        _hydra_main()
    except NstError as error:
        sys.exit(_fail(error))
    except ValueError as error:  # Hydra's own, for a group that is set to a number
        if "Config group override" not in str(error):
            raise
        sys.exit(_fail(ConfigError(complaint(error, arguments))))
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        sys.exit(_fail(ConfigError(complaint(error, arguments))))
    except OSError as error:
        if error.filename is None:
            raise
        sys.exit(_fail(OutputError(f"{error.filename}: {error.strerror}; choose another out=DIR")))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
