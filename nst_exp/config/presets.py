"""The presets in ``configs/``."""

from nst_exp.utils.paths import CONFIGS


def groups() -> dict[str, list[str]]:
    """Return the groups of presets and the names in each."""
    return {
        folder.name: sorted(path.stem for path in folder.glob("*.yaml"))
        for folder in sorted(CONFIGS.iterdir())
        if folder.is_dir()
    }
