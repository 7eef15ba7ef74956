"""Fetch weights ahead, verify or list the cache.

``python -m nst_exp.weights fetch vgg16``
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nst_exp.utils.errors import NstError, WeightsError
from nst_exp.utils.paths import cache_folder
from nst_exp.weights import cache
from nst_exp.weights.load import load_weights
from nst_exp.weights.presets import preset_names, read_preset


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code (0, or that of the worst failure)."""
    parser = argparse.ArgumentParser(prog="python -m nst_exp.weights", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (
        ("fetch", "download, check and convert into the cache"),
        ("verify", "check the hashes of what is cached"),
        ("list", "show what is cached, with sizes and sources"),
    ):
        command = commands.add_parser(name, help=what, description=what)
        command.add_argument(
            "preset",
            nargs="+" if name == "fetch" else "*",
            help=f"one of: {', '.join(preset_names())}"
            + ("" if name == "fetch" else " (default: everything)"),
        )
    options = parser.parse_args(arguments)
    try:
        if options.command == "fetch":
            return fetch(options.preset)
        return verify(options.preset) if options.command == "verify" else show(options.preset)
    except NstError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def fetch(presets: Sequence[str]) -> int:
    """Bring the weights of the presets into the cache; go on after a failure, but return its code.

    Raises ``ConfigError`` for an unknown preset, before anything is fetched.
    """
    code = 0
    backbones = {preset: replace(read_preset(preset), file=None) for preset in presets}
    for preset, backbone in backbones.items():
        try:
            loaded = load_weights(backbone, report=_report)
        except WeightsError as error:
            print(f"error: {error}", file=sys.stderr)
            code = error.exit_code
            continue
        print(f"{preset}: {loaded.source}, sha256 {loaded.sha256}")
    return code


def verify(presets: Sequence[str]) -> int:
    """Check every cached file (of the presets) against its record."""
    code = 0
    paths = _entries(presets)
    for path in paths:
        try:
            cache.read(path)
        except cache.DamagedError as error:
            print(f"damaged  {path}: {error}; the next use fetches it again")
            code = WeightsError.exit_code
        else:
            print(f"ok       {path}")
    return code or _missing(presets, paths)


def show(presets: Sequence[str]) -> int:
    """Print every cached file (of the presets) with its size and source."""
    paths = _entries(presets)
    for path in paths:
        size = f"{path.stat().st_size / 1e6:7.1f} MB"
        try:
            record = cache.read_record(path)
        except cache.DamagedError as error:
            print(f"{size}  {path}: {error}")
        else:
            print(f"{size}  {path}  from {record.source}; {record.credit or 'no credit given'}")
    return _missing(presets, paths)


def _entries(presets: Sequence[str]) -> list[Path]:
    if not presets:
        return list(cache.entries())
    found = []
    for preset in presets:
        backbone = read_preset(preset)
        found += [cache.find(backbone.name, source.sha256) for source in backbone.sources]
    return [path for path in found if path is not None]


def _missing(presets: Sequence[str], paths: Sequence[Path]) -> int:
    if paths:
        return 0
    print(f"nothing cached{' for ' + ', '.join(presets) if presets else ''}: {cache_folder()}")
    return WeightsError.exit_code if presets else 0


def _report(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
