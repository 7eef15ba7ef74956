"""The layers that each term of a loss reads."""

from dataclasses import replace

from nst_exp.config.schema import Backbone, Loss


def resolve_layers(loss: Loss, backbone: Backbone) -> Loss:
    """Fill in the layers of terms that name none.

    Content and style read the backbone's own layers, the terms of ``loss.more`` those of the style.
    """
    content = replace(loss.content, layers=loss.content.layers or backbone.content_layers)
    style = replace(loss.style, layers=loss.style.layers or backbone.style_layers)
    more = {
        name: replace(term, layers=term.layers or style.layers) for name, term in loss.more.items()
    }
    return replace(loss, content=content, style=style, more=more)


def style_layers(loss: Loss) -> list[str]:
    """Return every layer that a style term reads, without repetition."""
    terms = [loss.style, *loss.more.values()]
    return list(dict.fromkeys(layer for term in terms for layer in term.layers))


def layers_read(loss: Loss) -> list[str]:
    """Return every layer that the loss reads, without repetition."""
    return list(dict.fromkeys([*loss.content.layers, *style_layers(loss)]))
