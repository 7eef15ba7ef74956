"""Validation of a config: the one place that asks every check. No torch."""

from __future__ import annotations

from nst_exp.config.schema import Config
from nst_exp.config.validate import combination_problems, value_problems
from nst_exp.config.validate_sizes import size_problems
from nst_exp.images.validate import file_problems
from nst_exp.utils.errors import ConfigError


def problems_of(config: Config) -> list[str]:
    """Return every problem of a config, a line for each."""
    problems = list(value_problems(config))
    sizes = [] if problems else size_problems(config)  # they compute with the values
    return [*problems, *file_problems(config), *combination_problems(config), *sizes]


def validate(config: Config) -> None:
    """Check a config before any work.

    Raises:
        ConfigError: With every problem found.
    """
    if problems := problems_of(config):
        raise ConfigError(problems)
