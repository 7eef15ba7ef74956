"""The text of ``--help``, made from the schema without Hydra: it appears at once."""

import os
import sys
import textwrap

from nst_exp.config.keys import walk
from nst_exp.config.presets import groups
from nst_exp.config.schema import Config

USAGE = """\
nst_exp: neural style transfer by optimization, driven by configs.

Usage: python -m nst_exp [KEY=VALUE ...]

  python -m nst_exp                                 the packaged images
  python -m nst_exp content=cat.jpg style=wave.jpg  your own images
  python -m nst_exp size=512 steps=300 beta=20      larger, longer, more style
  python -m nst_exp init=noise seed=1               from noise
  python -m nst_exp resolution=pyramid size=512     coarse to fine
  python -m nst_exp -m beta=0.5,5,50                a sweep: a run per value
  python -m nst_exp from_image=old.png beta=20      as old.png, with more style
  python -m nst_exp --cfg job                       print all keys and values
  python -m nst_exp --version
  tensorboard --logdir outputs                      losses and images over time
"""


def print_help() -> None:
    """Print the help; a pipe that is closed early, as by ``head``, is not an error."""
    try:
        print(help_text(), flush=True)
    except BrokenPipeError:  # what is left is written when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def help_text() -> str:
    """Return the usage, the top-level keys with their defaults and the groups of presets."""
    lines = [USAGE, "Keys (all of them, with their groups: docs/configuration.md):", ""]
    for name, value, info in walk(Config()):
        if "." not in name:
            default = "null" if value is None else str(value).lower()
            lines.append(_entry(name, f"{info.help} [{default}]"))
    lines += ["", "Groups of presets, chosen as GROUP=NAME:", ""]
    lines += [_entry(group, ", ".join(names)) for group, names in groups().items()]
    lines += ["", "An experiment is chosen as +experiment=NAME; own presets: --config-dir FOLDER."]
    return "\n".join(lines)


def _entry(name: str, text: str) -> str:
    return textwrap.fill(f"  {name:<15} {text}", 79, subsequent_indent=" " * 18)
