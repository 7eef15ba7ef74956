"""The regions of a run: color-coded maps as weights at the layers of a level."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from nst_exp.config.schema import Config, RegionBorder, RegionWeighting, Unmatched
from nst_exp.config.styles import style_keys, style_shares
from nst_exp.core.encoder import Encoder
from nst_exp.core.receptive_field import ReceptiveField, receptive_fields
from nst_exp.core.regions import layer_masks
from nst_exp.core.targets import Features, Region, Style
from nst_exp.images.color_maps import (
    Color,
    distance,
    find_colors,
    label,
    parse_color,
    to_hex,
)
from nst_exp.report.grid import Panel, draw_grid, save_drawing
from nst_exp.runner.inputs import Inputs
from nst_exp.utils.errors import ConfigError

log = logging.getLogger(__name__)

NEAREST = Image.Resampling.NEAREST
PREVIEW = "regions.png"
_SAME_SHAPE = 0.01  # difference of two aspect ratios
_PREVIEW_SIDE, _OPACITY = 512, 0.5  # pixels of an image there; of a region's color


class Target(NamedTuple):
    """An image at its size in a level, (1, 3, H, W), with its feature maps."""

    image: Tensor
    maps: Features


@dataclass(frozen=True)
class RegionMaps:
    """Which pixels of the content and of each style belong to which region."""

    config: Config
    colors: list[Color]
    content: NDArray[np.int64]  # the index of each pixel's region
    styles: list[NDArray[np.int64]]

    def share(self, index: int) -> float:
        """Return the part of the content that a region covers."""
        return float((self.content == index).mean())

    def present(self) -> list[int]:
        """List the regions of the content."""
        return [index for index in range(len(self.colors)) if self.share(index) > 0]

    def styles_of(self, index: int) -> list[int]:
        """List the styles that have a region of the same color."""
        return [n for n, labels in enumerate(self.styles) if (labels == index).any()]

    def content_factor(self, index: int) -> float:
        """Return the factor of ``regions.content_weights`` on a region's content."""
        for name, weight in self.config.regions.content_weights.items():
            color = parse_color(name)
            if min(self.colors, key=lambda own: distance(own, color)) == self.colors[index]:
                return weight
        return 1.0


def read_regions(config: Config, inputs: Inputs) -> RegionMaps | None:
    """Find the regions of the maps; None without maps. Colors without a counterpart are logged."""
    if config.content_map is None:
        return None
    keys = ["content_map", *(f"style_map[{index}]" for index in range(len(config.style_map)))]
    arrays = [np.asarray(inputs.loaded[key].image) for key in keys]
    colors = find_colors(arrays, config.regions.tolerance, config.regions.min_share)
    labels = [label(array, colors, config.regions.min_share) for array in arrays]
    for key, array, image in zip(keys, labels, inputs.images(), strict=True):
        (width, height), (rows, columns) = image.original_size, array.shape
        stretched = abs(columns / rows * height / width - 1.0) > _SAME_SHAPE
        if stretched and array.min() < array.max():
            log.warning(
                f"{key}: {columns}x{rows} pixels are stretched to the shape of its image, "
                f"{width}x{height}"
            )
    maps = RegionMaps(config, colors, labels[0], labels[1:])
    problems = [*_unknown_colors(maps)]
    if not any(map(maps.styles_of, maps.present())):
        raise ConfigError("content_map: no style map has any of its colors; use the same colors")
    for index in maps.present():
        if not maps.styles_of(index):
            message = f"content_map: no style map has the color {to_hex(colors[index])}"
            if config.regions.unmatched is Unmatched.error:
                known = ", ".join(
                    to_hex(color) for n, color in enumerate(colors) if maps.styles_of(n)
                )
                problems.append(f"{message}; use one of {known}, or regions.unmatched=style")
            elif config.regions.unmatched is Unmatched.style:
                log.warning(f"{message}, so that region is compared with all of every style")
            else:
                log.warning(f"{message}, so that region has no style")
    if problems:
        raise ConfigError(problems)
    return maps


def _unknown_colors(maps: RegionMaps) -> Iterator[str]:
    """Yield a line for each entry of ``regions.content_weights`` that is no region's color."""
    known = [maps.colors[index] for index in maps.present()]
    for name in maps.config.regions.content_weights:
        problem = f"regions.content_weights: {name}"
        try:
            color = parse_color(name)
        except ValueError:
            yield f"{problem} is not a color; use a name such as red, or '#rrggbb'"
            continue
        if all(distance(color, other) > maps.config.regions.tolerance for other in known):
            yield (
                f"{problem} is not in content_map; its colors are {', '.join(map(to_hex, known))}"
            )


def build_regions(
    maps: RegionMaps, encoder: Encoder, content: Target, styles: Sequence[Target]
) -> tuple[list[Region], Features | None]:
    """Build what the style terms compare at a level, and the weights of the content's positions."""
    config, shares = maps.config, style_shares(maps.config)
    fields, border = receptive_fields(encoder), config.regions.border
    image_masks = _masks(maps, maps.content, content, fields, border)
    style_masks = [
        _masks(maps, labels, style, fields, border)
        for labels, style in zip(maps.styles, styles, strict=True)
    ]
    regions, present = [], maps.present()
    for index in present:
        matched = maps.styles_of(index)
        if not matched and config.regions.unmatched is Unmatched.content:
            continue
        used = matched or range(len(styles))
        total = sum(shares[n] for n in used)
        sources = [
            Style(styles[n].maps, shares[n] / total, style_masks[n][index] if matched else None)
            for n in used
        ]
        equal = config.regions.weighting is RegionWeighting.equal
        share = 1.0 / len(present) if equal else maps.share(index)
        regions.append(Region(sources, image_masks[index], share))
        _warn_if_vanished(maps.colors[index], regions[-1])
    if not config.regions.content_weights:
        return regions, None
    areas = _masks(maps, maps.content, content, fields, RegionBorder.simple)
    factors = [maps.content_factor(index) for index in range(len(maps.colors))]
    return regions, {
        layer: sum(
            (factor * masks[layer] for factor, masks in zip(factors, areas, strict=True)),
            start=torch.zeros_like(areas[0][layer]),
        )
        for layer in areas[0]
    }


def _masks(
    maps: RegionMaps,
    labels: NDArray[np.int64],
    target: Target,
    fields: Mapping[str, ReceptiveField],
    border: RegionBorder,
) -> list[dict[str, Tensor]]:
    """Compute the weights of every region at the layers of an image."""
    height, width = target.image.shape[2:]
    image = Image.fromarray(labels.astype(np.int32)).resize((width, height), NEAREST)
    sizes = {layer: (m.shape[2], m.shape[3]) for layer, m in target.maps.items()}
    resized = np.asarray(image).astype(np.int64)
    masks = layer_masks(resized, len(maps.colors), sizes, fields, border)
    return [{layer: mask.to(target.image) for layer, mask in m.items()} for m in masks]


def _warn_if_vanished(color: Color, region: Region) -> None:
    for layer in region.styles[0].maps:
        masks = [region.masks] if region.masks else []
        if len(region.styles) == 1 and region.styles[0].masks:
            masks.append(region.styles[0].masks)
        if not all(mask[layer].any() for mask in masks):
            log.warning(
                "content_map: the region %s is left out at %s, where no position belongs to it",
                *(to_hex(color), layer),
            )


def visible_masks(alpha: Tensor, target: Target) -> Features:
    """Compute the share of each position of the maps that is not fully transparent."""
    visible = (alpha > 0).to(target.image)
    return {
        layer: adaptive_avg_pool2d(visible, (values.shape[2], values.shape[3]))
        for layer, values in target.maps.items()
    }


def combined(masks: Features, others: Features | None) -> Features:
    """Multiply weights of positions layer by layer."""
    if others is None:
        return masks
    return {layer: mask * others[layer] for layer, mask in masks.items() if layer in others}


def save_preview(maps: RegionMaps, inputs: Inputs, folder: Path) -> None:
    """Draw the content and the styles with their regions: what is compared with what."""
    keys = style_keys(maps.config)
    panels: list[Panel] = []
    images = inputs.images()
    for name, image, labels in zip(
        ["content", *keys], images, [maps.content, *maps.styles], strict=True
    ):
        shown = image.image.copy()
        shown.thumbnail((_PREVIEW_SIDE, _PREVIEW_SIDE))
        colors = np.array(maps.colors, dtype=np.uint8)[labels]
        overlay = Image.fromarray(colors).resize(shown.size, NEAREST)
        panels.append(Panel(name, Image.blend(shown, overlay, _OPACITY)))
    lines = []
    for index in maps.present():
        matched = [keys[n] for n in maps.styles_of(index)]
        default = "no style" if maps.config.regions.unmatched is Unmatched.content else "all styles"
        lines.append(
            f"{to_hex(maps.colors[index])}, {maps.share(index):.0%} of the content: "
            f"{', '.join(matched) or f'not in a style map, so {default}'}"
        )
    save_drawing(draw_grid([panels], caption="\n".join(lines)), folder / PREVIEW)
