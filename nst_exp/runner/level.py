"""The module of one level: its images, targets and start."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from nst_exp.config.loss_layers import RGB, content_layers, layers_read, style_layers
from nst_exp.config.pyramid import (
    Level,
    levels_of,
    optimizer_at,
    total_steps,
    with_more_steps,
)
from nst_exp.config.schema import AUTO, LBFGS, ColorMode, Config, Details, Padding
from nst_exp.config.styles import style_keys, style_shares
from nst_exp.core.blocks import Tiling
from nst_exp.core.color import LuminanceOnly, color_content, color_style, match_colors
from nst_exp.core.encoder import map_shapes
from nst_exp.core.image_terms import FunctionTerm, LossFunction
from nst_exp.core.init_image import starting_image
from nst_exp.core.objective import Objective, build_objective
from nst_exp.core.optimizers import carries_state, carry_state
from nst_exp.core.parametrization import finest_band
from nst_exp.core.statistics import PositionSums
from nst_exp.core.targets import Features, Region, Style
from nst_exp.core.terms import Term
from nst_exp.core.tiled import position_sums, whole_maps
from nst_exp.images.tensors import enlarge, rotate, scale
from nst_exp.runner.inputs import Inputs
from nst_exp.runner.memory import choose_block
from nst_exp.runner.module import StyleTransfer
from nst_exp.runner.network import Network, shadow_network
from nst_exp.runner.regions import (
    RegionMaps,
    Target,
    build_regions,
    combined,
    visible_masks,
)
from nst_exp.utils.errors import ConfigError

log = logging.getLogger(__name__)


def build_module(
    level: Level,
    config: Config,
    inputs: Inputs,
    network: Network,
    before: StyleTransfer | None,
    device: torch.device,
    maps: RegionMaps | None = None,
    block: int | None = None,
    terms: Mapping[str, LossFunction] | None = None,
) -> StyleTransfer:
    """Build the module of a level, which starts from the image of the level ``before``.

    Feature maps are computed in blocks of side ``block``, if it is given. ``terms`` are added to
    the objective.

    Raises:
        ConfigError: If an image is too small for the network, or a term has the name of another.
    """
    dtype = torch.float64 if config.trainer.precision == "64-true" else torch.float32
    encoder = network.encoder.to(device, dtype)
    content, styles, start = inputs.tensors(level.size)
    alpha = inputs.alpha(content.shape[3], content.shape[2])
    objective = _build_objective(
        config, network, content, alpha, styles, maps, block, device, dtype
    )
    for name, function in (terms or {}).items():
        if name in {term.name for term in cast(Iterable[Term], objective.terms)}:
            raise ConfigError(f"terms: the loss has a term {name} already; choose another name")
        objective.terms.append(FunctionTerm(name, function))
    for term in cast(Iterable[Term], objective.terms):
        term.weight *= level.settings.factors.get(term.name, 1.0)
    if config.color is ColorMode.transfer:
        image = match_colors(content, styles[0], config.color_root)
    elif before is None:
        image = starting_image(config.init, content, start, config.seed)
    else:
        image = enlarge(before.result_image().float().cpu(), *content.shape[2:])
        is_last = level.first_step + level.steps == total_steps(config)
        details = config.resolution.details
        if details is Details.all or (details is Details.between and not is_last):
            image = image + finest_band(content)
    colors = LuminanceOnly(content) if config.color is ColorMode.luminance else None
    settings, averaging = optimizer_at(config, level), config.resolution.averaging
    tiling = Tiling(encoder, block) if block else None
    module = StyleTransfer(image, encoder, objective, settings, averaging, colors, tiling)
    if dtype is torch.float64:  # Lightning would do it after it has restored a checkpoint
        module.double()
    module.level = level.index
    if before is not None:
        module.evaluations, module.restarts = before.evaluations, before.restarts
        if carries_state(config.optimizer):
            optimizer = cast(torch.optim.Optimizer, before.optimizers(use_pl_optimizer=False))
            state = optimizer.state[before.parameter.values]
            module.carried_state = carry_state(state, *content.shape[2:])
            module.loss_scale = before.loss_scale  # the unit of the gradients in that state
    return module


def levels_to_do(config: Config, earlier: Mapping[str, Any]) -> list[Level]:
    """Build the levels; those of a run that gets more steps than ``earlier`` stay as they are.

    The steps that are new are made at the last level.
    """
    levels = levels_of(config)
    before = [entry["steps"] for entry in earlier.get("levels") or []]
    extended = with_more_steps(levels, before) if before else levels
    if extended != levels:
        log.warning(
            "steps=%d: the levels before the last keep the steps that they had, so the last one "
            "has %d; a run from the start would divide the steps over all levels",
            *(sum(level.steps for level in levels), extended[-1].steps),
        )
    return extended


def describe_levels(
    config: Config, levels: Sequence[Level], sizes: Sequence[tuple[int, int]]
) -> list[dict[str, Any]]:
    """List what each level does, for the record; ``sizes`` are width and height of each."""
    found: list[dict[str, Any]] = []
    for level, (width, height) in zip(levels, sizes, strict=True):
        optimizer = optimizer_at(config, level)
        entry = {"width": width, "height": height, "steps": level.steps, "lr": optimizer.lr}
        if isinstance(optimizer, LBFGS):
            entry["history"] = optimizer.history
        found.append(entry | {"factors": level.settings.factors})
    return found


def level_block(
    level: Level, config: Config, inputs: Inputs, network: Network, device: torch.device
) -> int | None:
    """Choose the side of a level's blocks, and log it if the config leaves it open."""
    config = replace(config, backbone=network.settings)
    image, keys = inputs.content_size(level.size), range(len(config.style))
    style = max((inputs.style_size(level.size, index) for index in keys), key=math.prod)
    block = choose_block(config, level, shadow_network(config), image, style, device)
    if block is not None and level.settings.tile is None and config.trainer.tile == AUTO:
        log.warning(
            "%dx%d pixels at once need more memory than is free, so they are computed in blocks of "
            "%d; trainer.tile=null computes them at once",
            *(*image, block),
        )
    return block


def _build_objective(
    config: Config,
    network: Network,
    content: Tensor,
    alpha: Tensor | None,
    styles: Sequence[Tensor],
    maps: RegionMaps | None,
    block: int | None,
    device: torch.device,
    dtype: torch.dtype,
) -> Objective:
    """Build the objective of a level; colors are matched before the network sees the images.

    Positions that the opacity ``alpha`` of the content hides do not count. With blocks of side
    ``block`` the maps of styles are shapes alone, beside the sums over their positions.
    """
    loss, layers = network.loss, style_layers(network.loss)
    seen = color_content(config.color, content).to(device, dtype)

    def target_maps(image: Tensor, layers: Sequence[str], key: str, tiles: bool) -> Features:
        if block is None:
            return network.maps(image, layers, key, tiles)
        shapes = map_shapes(network.encoder, image)
        return {layer: image if layer == RGB else shapes[layer] for layer in layers}

    if block is None:
        content_maps = network.maps(seen, content_layers(loss), "content")
    else:
        content_maps = whole_maps(Tiling(network.encoder, block), seen, content_layers(loss))
    targets, every = [], []
    for key, style, share in zip(style_keys(config), styles, style_shares(config), strict=True):
        image = color_style(config.color, config.color_root, style, content).to(device, dtype)
        turned = [rotate(image, angle) for angle in config.resolution.style_angles or [0.0]]
        factors = config.resolution.style_copies or [1.0]
        images = [scale(each, factor) for each in turned for factor in factors]
        own, *copies = (target_maps(each, layers, key, tiles=False) for each in images)
        targets.append(Target(images[0], own))
        every.append(Style(own, share, copies=copies))
    regions = [Region(every)]
    content_masks: Features | None = None
    if maps is not None or alpha is not None:
        whole = Target(seen, target_maps(seen, layers_read(loss), "content", tiles=True))
        if maps is not None:
            regions, content_masks = build_regions(maps, network.encoder, whole, targets)
        if alpha is not None:
            visible = visible_masks(alpha, whole)
            content_masks = combined(visible, content_masks)
            regions = [replace(r, masks=combined(visible, r.masks)) for r in regions]
    if block is not None:
        style_tiling = Tiling(network.target_encoder(tiles=False), block)
        regions = _with_sums(regions, targets, style_tiling, layers)
    weights = config.alpha, config.beta
    wraps = network.settings.padding is Padding.circular
    return build_objective(loss, *weights, content_maps, regions, content_masks, config.seed, wraps)


def _with_sums(
    regions: Sequence[Region], targets: Sequence[Target], tiling: Tiling, layers: Sequence[str]
) -> list[Region]:
    """Add the sums over the positions of the styles, computed block by block."""
    sums: dict[int, Mapping[str, PositionSums]] = {}
    for target in targets:
        styles = [s for region in regions for s in region.styles if s.maps is target.maps]
        found = position_sums(tiling, target.image, layers, [style.masks for style in styles])
        sums |= {id(style): of_style for style, of_style in zip(styles, found, strict=True)}
    return [
        replace(region, styles=[replace(style, sums=sums[id(style)]) for style in region.styles])
        for region in regions
    ]
