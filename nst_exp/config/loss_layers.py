"""The layers that each term of a loss reads."""

from collections.abc import Iterable
from dataclasses import replace

from nst_exp.config.schema import Backbone, ContentLoss, Loss, StyleLoss

RGB = "rgb"  # the layer that is the image itself, in 0..1
HYPERCOLUMN = "hypercolumn"  # the name of the map that a term makes of its layers


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


def compared_layers(term: ContentLoss | StyleLoss) -> list[str]:
    """Return the names of the maps that a term compares."""
    return [HYPERCOLUMN] if term.hypercolumn else term.layers


def content_layers(loss: Loss) -> list[str]:
    """Return every layer of the content image that the loss reads, without repetition."""
    layers = _read_by([loss.content, *(term for term in style_terms(loss) if term.frozen)])
    return _once([*layers, RGB] if loss.laplacian.weights else layers)


def style_layers(loss: Loss) -> list[str]:
    """Return every layer of the style image that the loss reads, without repetition."""
    layers = _read_by(style_terms(loss))
    return _once([*layers, RGB] if loss.tv.auto else layers)


def layers_read(loss: Loss) -> list[str]:
    """Return every layer that the loss reads, without repetition."""
    return _once([*content_layers(loss), *style_layers(loss)])


def style_terms(loss: Loss) -> list[StyleLoss]:
    """Return the terms that read the style image."""
    return [loss.style, *loss.more.values()]


def _read_by(terms: Iterable[ContentLoss | StyleLoss]) -> list[str]:
    layers = []
    for term in terms:
        layers += [name for layer in term.layers for name in layer.split(":")]
        layers += [RGB] * bool(term.hypercolumn)  # its size is that of the image
    return layers


def _once(layers: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(layers))
