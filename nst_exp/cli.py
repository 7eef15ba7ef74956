"""The command line: Hydra's entry, the words on the screen, the exit codes. No torch is imported
before the config has been found right, so that help, completion and mistakes are quick."""

from __future__ import annotations

import logging
import os
import re
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

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
from nst_exp.compose import groups, to_config
from nst_exp.errors import ConfigError, NstError, OutputError
from nst_exp.paths import CONFIGS
from nst_exp.record import fingerprint, look_into

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


def _job_name(number: Any, overrides: list[str]) -> str:
    """``003_beta=100,style=wave``: a folder's name for a job of a sweep, safe on any system."""
    varied = os.environ.get(_VARIED, "").split()
    parts = []
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if varied and key not in varied:
            continue
        parts.append(f"{key.split('.')[-1]}={Path(value).name if '/' in value else value}")
    name = re.sub(r"[^\w=.,+-]+", "-", ",".join(parts))[:120].rstrip(".")
    return f"{int(number):03d}_{name}" if str(number).isdigit() else name


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
    schema.register()
    resolvers: dict[str, Callable[..., Any]] = {
        "nst_folder": _folder,
        "nst_job_name": _job_name,
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


def _say(line: str) -> None:
    print(line, flush=True)
    log.info(line)


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")
def _hydra_main(cfg: DictConfig) -> None:
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    try:
        config = to_config(cfg)
        check(config)
        from nst_exp.run import run  # torch comes in here

        result = run(config, shown, report=_say, handle_signals=True)
        shown_losses = [f"{n} {result.losses[n]:.3e}" for n in ("total", "content", "style")]
        cost = f"{result.record['seconds']:.0f} s, {result.record['evaluations']} evaluations"
        _say(f"{', '.join(shown_losses)}; {cost}")
        _say(f"result: {result.path}")
    except NstError as error:
        for problem in getattr(error, "problems", [str(error)]):
            log.error(problem)
        code = _fail(error)
        if hydra_config.mode is RunMode.MULTIRUN and code not in (130, 143):
            raise  # the other jobs of the sweep go on
        sys.exit(code)


def main() -> None:
    """Entry of ``python -m nst_exp`` and of the console script; exits with the codes of errors."""
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
