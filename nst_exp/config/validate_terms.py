"""Checks of the terms of a loss: their layers, and keys that belong to one statistic."""

from collections.abc import Iterator
from dataclasses import fields

from nst_exp.config import layer_names
from nst_exp.config.keys import typed
from nst_exp.config.loss_layers import RGB, layers_read, resolve_layers
from nst_exp.config.schema import (
    Config,
    ContentKind,
    ContentLoss,
    Loss,
    Metric,
    Statistic,
    StyleLoss,
)

_RANDOM = (Statistic.relaxed_emd, Statistic.palette)
# Statistics without weights of the positions: of these, regions have none.
OF_POSITIONS = (Statistic.sliced, Statistic.histogram, Statistic.neighbors, *_RANDOM)
_WITHOUT_POSITIONS = (*(kind.name for kind in OF_POSITIONS), ContentKind.self_similarity.name)
# Distances that need no division by the numbers of channels and positions.
_NORMALIZED = (Statistic.wasserstein2, Statistic.moments_l1, *_RANDOM)
# The statistics that read a key; all read the others.
_READ_BY = {
    "root_iterations": (Statistic.wasserstein2,),
    "shift": (Statistic.gram,),
    "directions": (Statistic.sliced,),
    "samples": _RANDOM,
    "redraw": (Statistic.sliced, *_RANDOM),
    **dict.fromkeys(("patch", "stride", "metric", "frozen"), (Statistic.neighbors,)),
}


def term_problems(config: Config) -> Iterator[str]:
    """Yield a line for each value of a term of the loss that does not fit the others."""
    loss = resolve_layers(config.loss, config.backbone)
    for name, term in _terms(loss).items():
        yield from _layers(name, term, config)
        yield from _statistic(name, term, config)
    if set(layers_read(loss)) == {RGB}:
        yield "loss.style.layers=[rgb]: the network is not used; let a term read one of its layers"
    pools, weights = loss.laplacian.pools, loss.laplacian.weights
    if weights and len(weights) != len(pools):
        yield (
            f"{typed('loss.laplacian.weights', weights)}: has {len(weights)} entries for "
            f"{len(pools)} pools; give one for each pool"
        )


def _terms(loss: Loss) -> dict[str, ContentLoss | StyleLoss]:
    """Return the terms that compare layers, by their keys."""
    more = {f"loss.more.{name}": term for name, term in loss.more.items()}
    return {"loss.content": loss.content, "loss.style": loss.style, **more}


def whole_image_keys(config: Config) -> Iterator[str]:
    """Yield the keys, as typed, of what cannot be computed in blocks of an image."""
    loss = config.loss
    if loss.content.kind is ContentKind.self_similarity:
        yield "loss.content.kind=self_similarity"
    for name, term in _terms(loss).items():
        if isinstance(term, StyleLoss) and term.statistic in OF_POSITIONS:
            yield f"{name}.statistic={term.statistic.name}"
        if term.hypercolumn:
            yield f"{name}.hypercolumn={term.hypercolumn}"
        for layer in term.layers:
            if ":" in layer:
                yield typed(f"{name}.layers", [layer])
    if loss.normalize_gradients:
        yield "loss.normalize_gradients=true"
    for key in ("style_angles", "style_copies"):
        if value := getattr(config.resolution, key):
            yield typed(f"resolution.{key}", value)


def _layers(name: str, term: ContentLoss | StyleLoss, config: Config) -> Iterator[str]:
    used, weights, key = term.layers, term.weights, f"{name}.layers"
    pairs = isinstance(term, StyleLoss) and term.statistic is Statistic.gram
    pairs = pairs and not term.hypercolumn
    if not used and (config.alpha if isinstance(term, ContentLoss) else config.beta) > 0:
        yield f"{key}=[]: backbone.name={config.backbone.name} has no default; name a layer"
    if len(set(used)) < len(used):
        twice = next(layer for layer in used if used.count(layer) > 1)
        yield f"{typed(key, used)}: '{twice}' is given twice; remove one"
    if weights and len(weights) != len(used):
        yield (
            f"{typed(f'{name}.weights', weights)}: has {len(weights)} entries for "
            f"{len(used)} layers ({', '.join(used)}); give one for each layer"
        )
    for layer in dict.fromkeys(used):
        if ":" in layer and not pairs:
            yield (
                f"{typed(key, used)}: '{layer}' is a pair of layers, which only statistic=gram "
                "compares, without hypercolumn; name single layers"
            )
        elif layer.count(":") > 1:
            yield f"{typed(key, used)}: '{layer}' are more than two layers; name a pair"
    single = [name for layer in used for name in layer.split(":") if name != RGB]
    for layer in dict.fromkeys(single):
        if problem := layer_names.layer_problem(config.backbone.name, layer, key):
            yield problem


def _statistic(name: str, term: ContentLoss | StyleLoss, config: Config) -> Iterator[str]:
    if isinstance(term, ContentLoss):
        chosen, normalized = f"{name}.kind", term.kind is ContentKind.self_similarity
        unread = (
            [] if normalized else [("samples", "self_similarity"), ("redraw", "self_similarity")]
        )
        kind = term.kind.name
    else:
        chosen, kind = f"{name}.statistic", term.statistic.name
        cosine = term.statistic is Statistic.neighbors and term.metric is Metric.cosine
        normalized = term.statistic in _NORMALIZED or cosine
        unread = [
            (key, " or ".join(statistic.name for statistic in readers))
            for key, readers in _READ_BY.items()
            if term.statistic not in readers
        ]
    defaults = {field.name: field.default for field in fields(term)}
    for key, readers in unread:
        if (value := getattr(term, key)) != defaults[key]:
            shown = typed(f"{name}.{key}", getattr(value, "name", value))
            yield f"{shown}: only read with {chosen}={readers}; leave it out"
    regions = "content_map" if config.content_map is not None else "keep_alpha=true"
    if kind in _WITHOUT_POSITIONS and (config.content_map is not None or config.keep_alpha):
        yield f"{chosen}={kind}: compares whole images; leave {regions} out, or use another"
    if normalized and term.relative:
        yield f"{name}.relative=true: not with {chosen}={kind}; use {name}.relative=false"
    if kind == "palette" and term.layers != [RGB]:
        yield f"{typed(f'{name}.layers', term.layers)}: {kind} compares colors; use [{RGB}]"
