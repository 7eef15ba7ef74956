"""Pairs of layers, hypercolumns, the image as a layer, and terms that need the content's maps."""

from collections.abc import Callable

import pytest
import torch
from helpers_core import random_maps
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from nst_exp.config import schema
from nst_exp.config.loss_layers import content_layers, layers_read, style_layers
from nst_exp.config.schema import ContentKind, ContentLoss, Metric, Statistic, StyleLoss
from nst_exp.core.encoder import build_encoder
from nst_exp.core.layer_maps import read_maps, read_masks
from nst_exp.core.objective import build_objective
from nst_exp.core.targets import Region, Style, whole_image
from nst_exp.core.terms import StyleTerm

MAPS = {
    "rgb": random_maps(0, 3, 8, 12),
    "a": random_maps(1, 2, 8, 12),
    "b": random_maps(2, 3, 4, 6),
}
OTHERS = {
    "rgb": random_maps(3, 3, 6, 6),
    "a": random_maps(4, 2, 6, 6),
    "b": random_maps(5, 3, 3, 3),
}


def evaluate(term: StyleTerm, maps: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    found: tuple[Tensor, dict[str, Tensor]] = term(maps["rgb"], maps)
    return found


def test_a_pair_of_layers_is_compared_by_their_products() -> None:
    """The upper map at the lower one's grid: each of its values covers 2 x 2 positions."""
    settings = StyleLoss(["a", "a:b"], [2.0, 3.0], shift=-1.0, a=2.0, b=2.0, c=0.5)
    term = StyleTerm("style", settings, 1.0, whole_image(OTHERS))

    def gram(maps: dict[str, Tensor]) -> Tensor:
        a, b = maps["a"][0] - 1, maps["b"][0] - 1
        total = torch.zeros(2, 3, dtype=torch.float64)
        for i in range(a.shape[1]):
            for j in range(a.shape[2]):
                total += torch.outer(a[:, i, j], b[:, i // 2, j // 2])
        return total / a[0].numel()

    _, losses = evaluate(term, MAPS)
    # (M^2 sum of squares) / (N_1 N_2 M^2), with the c of the settings
    expected = 0.5 * (gram(MAPS) - gram(OTHERS)).square().mean()
    torch.testing.assert_close(losses["style/a:b"], expected, rtol=1e-12, atol=0)
    total, _ = evaluate(term, MAPS)
    weighted = 2 * losses["style/a"] + 3 * losses["style/a:b"]
    torch.testing.assert_close(total, weighted, rtol=1e-12, atol=0)


def test_a_hypercolumn_has_the_weighted_maps_of_all_layers() -> None:
    settings = StyleLoss(["rgb", "a", "b"], [1.0, 2.0, 0.5], hypercolumn=2)
    (name, column), *_ = read_maps(MAPS, settings).items()
    assert name == "hypercolumn"
    assert column.shape == (1, 8, 4, 6)
    torch.testing.assert_close(column[:, 5:], 0.5 * MAPS["b"])  # on its own grid
    blocks = MAPS["a"].unfold(2, 2, 2).unfold(3, 2, 2)  # halfway between two positions
    torch.testing.assert_close(column[:, 3:5], 2 * blocks.mean(dim=(4, 5)))
    term = StyleTerm("style", settings, 1.0, whole_image(OTHERS))
    total, losses = evaluate(term, MAPS)
    assert list(losses) == ["style/hypercolumn"]
    assert float(total) == float(losses["style/hypercolumn"]) > 0


@pytest.mark.parametrize(("positions", "size"), [(24, (4, 6)), (54, (6, 9)), (999, (8, 12))])
def test_a_hypercolumn_keeps_a_number_of_positions(positions: int, size: tuple[int, int]) -> None:
    """Of 8 x 12 pixels: half of each side is enough, or not."""
    settings = StyleLoss(["rgb", "b"], hypercolumn=2, positions=positions)
    assert read_maps(MAPS, settings)["hypercolumn"].shape[2:] == size
    assert read_masks({"rgb": MAPS["rgb"][:, :1]}, settings)["hypercolumn"].shape[2:] == size


def test_a_mask_of_ones_changes_nothing() -> None:
    settings = [StyleLoss(["a", "a:b"]), StyleLoss(["a", "b"], hypercolumn=3)]
    masks, others = (
        {layer: torch.ones_like(values[:, :1]) for layer, values in maps.items()}
        for maps in (MAPS, OTHERS)
    )
    for of_term in settings:
        plain = StyleTerm("style", of_term, 1.0, whole_image(OTHERS))
        masked = StyleTerm("style", of_term, 1.0, [Region([Style(OTHERS, 1.0, others)], masks)])
        found, expected = evaluate(masked, MAPS)[0], evaluate(plain, MAPS)[0]
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    half = {"rgb": MAPS["rgb"][:, :1], "a": MAPS["a"][:, :1]}
    assert torch.equal(read_masks(half, settings[0])["a:b"], half["a"])
    assert read_masks(half, settings[1])["hypercolumn"].shape == (1, 1, 2, 4)


@pytest.mark.parametrize("kind", [Statistic.sliced, Statistic.histogram, Statistic.neighbors])
def test_regions_of_statistics_without_weights_are_refused(kind: Statistic) -> None:
    masks = {layer: torch.ones_like(values[:, :1]) for layer, values in MAPS.items()}
    with pytest.raises(ValueError, match="no weights of positions"):
        StyleTerm("style", StyleLoss(["a"], statistic=kind), 1.0, [Region([Style(MAPS)], masks)])


def test_frozen_neighbors_are_matched_with_the_content() -> None:
    """Each position is drawn to the style's vector nearest to the content's position."""
    settings = StyleLoss(["a"], statistic=Statistic.neighbors, metric=Metric.cosine, frozen=True)
    content = {"a": random_maps(7, 2, 8, 12)}
    term = StyleTerm("style", settings, 1.0, whole_image(OTHERS), content)

    def centered(maps: dict[str, Tensor]) -> Tensor:
        rows = maps["a"][0].flatten(1).T
        return rows - rows.mean(dim=0)

    found = centered(content)[:, None], centered(OTHERS)[None]
    fixed = centered(OTHERS)[cosine_similarity(*found, dim=2).argmax(dim=1)]
    expected = 1 - cosine_similarity(centered(MAPS), fixed, dim=1).mean()
    torch.testing.assert_close(evaluate(term, MAPS)[0], expected, rtol=1e-12, atol=0)


def test_a_step_keeps_its_nearest_patches() -> None:
    """Those of largest correlation with the first image, for the distances of the others."""
    style = StyleLoss(["a"], statistic=Statistic.neighbors, patch=3, a=0, b=0)
    loss = schema.Loss(ContentLoss(["a"]), style)
    objective = build_objective(loss, 0.0, 1.0, MAPS, whole_image(OTHERS))

    def patches(maps: dict[str, Tensor]) -> Tensor:
        _, _, height, width = maps["a"].shape
        corners = [(y, x) for y in range(height - 2) for x in range(width - 2)]
        return torch.stack([maps["a"][0, :, y : y + 3, x : x + 3].flatten() for y, x in corners])

    def expected(maps: dict[str, Tensor], matched: dict[str, Tensor]) -> Tensor:
        pairs = patches(matched)[:, None], patches(OTHERS)[None]
        return (patches(maps) - pairs[1][0, cosine_similarity(*pairs, dim=2).argmax(1)]).square()

    moved = MAPS | {"a": random_maps(9, *MAPS["a"].shape[1:]).requires_grad_()}
    with objective.kept_neighbors():
        found = [objective(maps["rgb"], maps).total for maps in (MAPS, moved)]
    found.append(objective(moved["rgb"], moved).total)
    naive = [expected(MAPS, MAPS), expected(moved, MAPS), expected(moved, moved)]
    assert found[1] != found[2]
    for value, distances in zip(found, naive, strict=True):
        torch.testing.assert_close(value, distances.sum(), rtol=1e-12, atol=0)
    slopes = (torch.autograd.grad(v, moved["a"])[0] for v in (found[1], naive[1].sum()))
    torch.testing.assert_close(*slopes, rtol=1e-11, atol=1e-12)


def test_random_choices_follow_from_the_step() -> None:
    settings = StyleLoss(["a"], statistic=Statistic.sliced, directions=1, redraw=3)
    terms = [StyleTerm("style", settings, 1.0, whole_image(OTHERS), seed=5) for _ in range(2)]
    changes, values = [], []
    for step in range(7):
        changes.append(terms[0].start_step(step))
        values.append(float(evaluate(terms[0], MAPS)[0]))
    assert changes == [step in (3, 6) for step in range(7)]
    assert [values.count(value) for value in values] == [3] * 6 + [1]
    # A run that is resumed comes to the same, from any step.
    assert not terms[1].start_step(5)
    assert float(evaluate(terms[1], MAPS)[0]) == values[5]
    other = StyleTerm("style", settings, 1.0, whole_image(OTHERS), seed=6)
    assert float(evaluate(other, MAPS)[0]) != values[0]


def test_self_similarity_ignores_what_all_positions_share() -> None:
    """The content's own map, scaled, has no loss; c is the only factor of three."""
    content = ContentLoss(["a", "b"], kind=ContentKind.self_similarity, hypercolumn=2, c=3.0)
    loss = schema.Loss(content=content, style=StyleLoss(["a"]))
    objective = build_objective(loss, 1.0, 0.0, MAPS, whole_image(MAPS))

    def value(maps: dict[str, Tensor]) -> float:
        return float(objective(maps["rgb"], maps).sums["content"])

    scaled = {layer: 2 * values for layer, values in MAPS.items()}
    assert value(scaled) == pytest.approx(0.0, abs=1e-12)
    moved = MAPS | {"a": MAPS["a"].flip(3)}
    assert (tripled := value(moved)) > 0.1
    content.c = 1.0
    assert tripled == pytest.approx(3 * value(moved))


def test_layers_that_terms_read() -> None:
    loss = schema.Loss(ContentLoss(["c"]), StyleLoss(["a", "a:b"]))
    assert (content_layers(loss), style_layers(loss)) == (["c"], ["a", "b"])
    loss.more["nearest"] = schema.StyleTerm(["d"], statistic=Statistic.neighbors, frozen=True)
    assert (content_layers(loss), style_layers(loss)) == (["c", "d"], ["a", "b", "d"])
    loss.more["column"] = schema.StyleTerm(["a"], hypercolumn=4)
    assert layers_read(loss) == ["c", "d", "a", "b", "rgb"]
    loss.more.clear()
    loss.tv.auto = True
    assert (content_layers(loss), style_layers(loss)) == (["c"], ["a", "b", "rgb"])
    loss.laplacian.weights = [1.0]
    assert content_layers(loss) == ["c", "rgb"]


def test_the_image_is_a_layer(random_image: Callable[..., Tensor]) -> None:
    settings = schema.Backbone("squeezenet1_1", map_scale=3.0)
    encoder: nn.Module = build_encoder(settings, ["relu1", "rgb"], None)
    image = random_image(16, 16)
    assert list(maps := encoder(image)) == ["relu1", "rgb"]
    assert torch.equal(maps["rgb"], image)
