"""The command ``nst-exp-weights``: fetch weights in advance, verify or list the cache.

``nst-exp-weights fetch vgg16``
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nst_exp.app.compose import make_config
from nst_exp.app.console import fail, install_console
from nst_exp.config.presets import groups
from nst_exp.config.schema import Backbone
from nst_exp.utils.errors import NstError, WeightsError
from nst_exp.utils.paths import cache_folder
from nst_exp.weights import cache, load_weights


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code (0, or that of the last failure)."""
    parser = argparse.ArgumentParser(prog="nst-exp-weights", description=__doc__)
    commands = parser.add_subparsers(required=True)
    presets = f"one of: {', '.join(groups()['backbone'])}"
    for name, run in (("fetch", fetch), ("verify", verify), ("list", show)):
        command = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        if run is fetch:
            command.add_argument("preset", nargs="+", help=presets)
        else:
            command.add_argument("preset", nargs="*", help=f"{presets} (default: everything)")
        command.set_defaults(run=run)
    options = parser.parse_args(arguments)
    install_console()
    try:
        return int(options.run(options.preset))
    except NstError as error:
        return fail(error)


def read_preset(name: str) -> Backbone:
    """Compose the backbone of a preset."""
    return make_config([f"backbone={name}"]).backbone


def fetch(presets: Sequence[str]) -> int:
    """Fetch the weights of the presets, all of them even if one fails."""
    code = 0
    backbones = {preset: read_preset(preset) for preset in presets}  # refuses unknown names first
    for preset, backbone in backbones.items():
        try:
            loaded = load_weights(replace(backbone, file=None))
        except NstError as error:
            code = fail(error)
        else:
            print(f"{preset}: {loaded.source}, sha256 {loaded.sha256}")
    return code


def verify(presets: Sequence[str]) -> int:
    """Check the cached files (of the presets)."""
    code = 0
    paths = _cached_files(presets)
    for path in paths:
        try:
            cache.read(path)
        except cache.DamagedError as error:
            print(f"damaged  {path}: {error}; the next use fetches it again")
            code = WeightsError.exit_code
        else:
            print(f"ok       {path}")
    return code or _report_nothing(presets, paths)


def show(presets: Sequence[str]) -> int:
    """Print the cached files (of the presets) with their sizes and sources."""
    paths = _cached_files(presets)
    for path in paths:
        try:
            record, _ = cache.read(path)
            origin = f"from {record.source}; {record.credit or 'no credit given'}"
        except cache.DamagedError as error:
            origin = f"damaged: {error}"
        print(f"{path.stat().st_size / 1e6:7.1f} MB  {path}  {origin}")
    return _report_nothing(presets, paths)


def _cached_files(presets: Sequence[str]) -> list[Path]:
    if not presets:
        return list(cache.entries())
    backbones = [read_preset(preset) for preset in presets]
    found = [cache.find(b.name, source.sha256) for b in backbones for source in b.sources]
    return [path for path in found if path is not None]


def _report_nothing(presets: Sequence[str], paths: Sequence[Path]) -> int:
    if paths:
        return 0
    print(f"nothing cached{' for ' + ', '.join(presets) if presets else ''}: {cache_folder()}")
    return WeightsError.exit_code if presets else 0
