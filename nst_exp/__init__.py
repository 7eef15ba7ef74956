"""Config-driven experiments in optimization-based neural style transfer."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nst_exp.app.api import make_config, stylize
    from nst_exp.runner.run import Result

__all__ = ["Result", "make_config", "stylize"]


def __getattr__(name: str) -> Any:
    # Torch takes seconds to import; the command line's help and errors do without it.
    if name not in __all__:
        raise AttributeError(f"module 'nst_exp' has no attribute {name!r}")
    from nst_exp.app import api

    return getattr(api, name)
