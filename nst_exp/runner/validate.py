"""Validation of a config: the one place that asks every check. torch only where it is needed."""

from nst_exp.config.schema import Config
from nst_exp.config.validate import combination_problems, size_problems, value_problems
from nst_exp.images.validate import UNKNOWN, file_problems, image_size_problems, own_sizes
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


def validate_here(config: Config) -> None:
    """Check what depends on the network and on this machine: device, sizes and memory.

    Raises:
        ConfigError: If the run cannot be done on this machine.
    """
    from nst_exp.runner.memory import check_size
    from nst_exp.runner.trainer import check_device, memory_device

    check_device(config.trainer)
    content, styles = own_sizes(config)
    if UNKNOWN not in (content, *styles):  # otherwise after the images are loaded
        check_size(config, content, styles, memory_device(config.trainer))
