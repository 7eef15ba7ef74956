"""The style images of a run: the keys that name them, and their shares."""

from nst_exp.config.schema import Config


def style_keys(config: Config) -> list[str]:
    """Return the key of each style image, as messages and the record name it."""
    count = len(config.style)
    return ["style"] if count == 1 else [f"style[{index}]" for index in range(count)]


def style_shares(config: Config) -> list[float]:
    """Return the share of each style image; they sum to 1."""
    weights = config.style_weights or [1.0] * len(config.style)
    return [weight / sum(weights) for weight in weights]
