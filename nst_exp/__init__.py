"""Config-driven experiments in optimization-based neural style transfer."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nst_exp.app.api import Stopped, make_config, stylize
    from nst_exp.app.python_sweep import sweep
    from nst_exp.report.frame import load_results
    from nst_exp.runner.result import Result

    __version__: str

_MODULES = {
    "Result": "nst_exp.runner.result",
    "Stopped": "nst_exp.app.api",
    "load_results": "nst_exp.report.frame",
    "make_config": "nst_exp.app.api",
    "stylize": "nst_exp.app.api",
    "sweep": "nst_exp.app.python_sweep",
}

__all__ = ["Result", "Stopped", "__version__", "load_results", "make_config", "stylize", "sweep"]


def __getattr__(name: str) -> Any:
    # Torch takes seconds to import; the command line's help and errors do without it.
    from importlib import import_module, metadata

    if name == "__version__":
        return metadata.version("nst-exp")
    if name not in _MODULES:
        raise AttributeError(f"module 'nst_exp' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
