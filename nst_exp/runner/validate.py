"""Validation of a config: the one place that asks every check. No torch."""

from nst_exp.config.schema import Config
from nst_exp.config.validate import combination_problems, size_problems, value_problems
from nst_exp.images.validate import file_problems, image_size_problems
from nst_exp.utils.errors import ConfigError


def validate(config: Config) -> None:
    """Check a config before any work.

    Raises:
        ConfigError: With every problem found.
    """
    values = list(value_problems(config))
    sizes = [] if values else list(size_problems(config))  # they compute with the values
    if not values and not sizes:
        sizes = list(image_size_problems(config))
    if problems := [*values, *file_problems(config), *combination_problems(config), *sizes]:
        raise ConfigError(problems)
