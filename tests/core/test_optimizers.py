"""L-BFGS against torch's own: the same points, with fewer evaluations. Adam's carried state."""

import io
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from helpers_core import cubic, linear, resampled
from torch import Tensor, nn

from nst_exp.config import schema
from nst_exp.core.optimizers import LBFGS, build_optimizer, carries_state, carry_state
from nst_exp.core.parametrization import ImageParameter

Function = Callable[[Tensor], Tensor]
WOLFE, NONE = schema.LineSearch.strong_wolfe, schema.LineSearch.none


def quadratic(x: Tensor) -> Tensor:
    """Convex, condition number 100."""
    return 0.5 * (torch.linspace(1.0, 100.0, x.numel(), dtype=x.dtype) * (x - 1.0).square()).sum()


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[1:] - x[:-1].square()).square() + (1 - x[:-1]).square()).sum()


def mean_square_root(change: Tensor) -> float:
    return float(change.square().mean().sqrt())


class Problem:
    """A function of a parameter, with the points at which it is evaluated."""

    def __init__(self, function: Function, start: Tensor | None = None) -> None:
        default = torch.linspace(-1.2, 0.9, 12, dtype=torch.float64)
        self.x = nn.Parameter((default if start is None else start).clone())
        self.function = function
        self.visited: list[Tensor] = []

    def closure(self) -> Tensor:
        self.visited.append(self.x.detach().clone())
        self.x.grad = None
        loss = self.function(self.x)
        loss.backward()
        return loss

    def ours(self, search: schema.LineSearch = WOLFE, **settings: Any) -> LBFGS:
        asked = {"history": 5, "first_step": None, "max_step": None, "max_evaluations": 1000}
        asked |= settings
        return LBFGS(self.x, schema.LBFGS(line_search=search, **asked), mean_square_root)

    def torchs(
        self, search: schema.LineSearch = WOLFE, iterations: int = 1, lr: float = 1.0
    ) -> torch.optim.LBFGS:
        wolfe = "strong_wolfe" if search is WOLFE else None
        limits = {"max_iter": iterations, "max_eval": 1000, "history_size": 5}
        tolerances = {"tolerance_grad": 0.0, "tolerance_change": 0.0}
        return torch.optim.LBFGS([self.x], lr, line_search_fn=wolfe, **limits, **tolerances)


SEARCHES = [(WOLFE, 1.0), (NONE, 0.5)]  # with a step length at which neither function diverges


@pytest.mark.parametrize("function", [quadratic, rosenbrock])
@pytest.mark.parametrize(("search", "lr"), SEARCHES)
def test_steps_are_torchs_iterations_bit_for_bit(
    function: Function, search: schema.LineSearch, lr: float
) -> None:
    mine = Problem(function)
    optimizer = mine.ours(search, lr=lr)
    for iterations in range(1, 16):
        optimizer.step(mine.closure)
        theirs = Problem(function)
        theirs.torchs(search, iterations, lr).step(theirs.closure)
        assert torch.equal(mine.x, theirs.x), f"after {iterations} iterations"
    # As many evaluations as torch's own single run over all iterations, and the gradient is there.
    assert len(mine.visited) == len(theirs.visited)
    if search is WOLFE:  # of the point that the search has chosen
        gradient = mine.x.grad.clone()
        mine.closure()
        assert torch.equal(gradient, mine.x.grad)


def test_a_parameter_changed_from_outside_is_evaluated_again() -> None:
    mine, theirs = Problem(rosenbrock), Problem(rosenbrock)
    a, b = mine.ours(), theirs.torchs()
    for index in range(8):
        if index in (3, 5):
            for problem in (mine, theirs):
                with torch.no_grad():
                    problem.x[2] += 1e-9  # however small
            start, seen = mine.x.detach().clone(), len(mine.visited)
        assert float(a.step(mine.closure)) == float(b.step(theirs.closure).detach())
        if index in (3, 5):
            assert torch.equal(mine.visited[seen], start)
    assert torch.equal(mine.x, theirs.x)


def test_a_cleared_state_clears_the_cache() -> None:
    """As after a divergence: a corrupted gradient must not be used again."""
    problem = Problem(quadratic)
    optimizer = problem.ours()
    optimizer.step(problem.closure)
    seen, start = len(problem.visited), problem.x.detach().clone()
    optimizer.state.clear()
    optimizer.step(problem.closure)
    assert torch.equal(problem.visited[seen], start)


@pytest.mark.parametrize("lr", [1.0, 0.25])
def test_the_first_step_is_a_mean_change_and_the_others_are_torchs(lr: float) -> None:
    mine, theirs = Problem(quadratic), Problem(quadratic)
    before = mine.x.detach().clone()
    a = mine.ours(NONE, first_step=0.01, lr=lr)
    a.step(mine.closure)
    assert mean_square_root(mine.x.detach() - before) == pytest.approx(0.01 * lr, rel=1e-12)
    assert a.param_groups[0]["lr"] == lr
    # torch's rule with lr as the length of the first step in all values together
    b = theirs.torchs(NONE)
    theirs.closure()
    unit = mean_square_root(theirs.x.grad / theirs.x.grad.abs().sum())
    b.param_groups[0]["lr"] = lr * 0.01 / unit
    b.step(theirs.closure)
    b.param_groups[0]["lr"] = lr
    for _ in range(3):
        assert torch.equal(mine.x, theirs.x)
        a.step(mine.closure)
        b.step(theirs.closure)


def test_steps_that_are_too_long_are_shortened_and_so_are_their_curvature_pairs() -> None:
    """Against the BFGS formula of the inverse Hessian as a matrix, from the steps as made."""
    problem = Problem(rosenbrock)
    optimizer = problem.ours(NONE, history=50, first_step=0.05, max_step=0.03)
    points, gradients, capped = [problem.x.detach().clone()], list[Tensor](), 0
    for _ in range(40):
        optimizer.step(problem.closure)
        points.append(problem.x.detach().clone())
        gradients.append(problem.x.grad.clone())
        moves = zip(pairwise(points[:-1]), pairwise(gradients), strict=True)
        pairs = [(b - a, d - c) for (a, b), (c, d) in moves]
        used = [(s, y) for s, y in pairs if s @ y > 1e-10]
        inverse = torch.eye(12, dtype=torch.float64)
        if used:
            s, y = used[-1]
            inverse *= s @ y / (y @ y)
        for s, y in used:
            left = torch.eye(12, dtype=torch.float64) - torch.outer(s, y) / (s @ y)
            inverse = left @ inverse @ left.T + torch.outer(s, s) / (s @ y)
        change = -inverse @ gradients[-1]
        length = mean_square_root(change)
        capped += length > 0.03
        expected = points[-2] + change * min(1.0, 0.03 / length)
        torch.testing.assert_close(points[-1], expected, rtol=1e-6, atol=1e-9)
    assert 3 < capped < 40  # both kinds of steps were made


def test_a_line_search_is_not_shortened() -> None:
    bounded, free = Problem(quadratic), Problem(quadratic)
    for problem, longest in ((bounded, 1e-6), (free, None)):
        problem.ours(max_step=longest).step(problem.closure)
    assert torch.equal(bounded.x, free.x)


@pytest.mark.parametrize("kind", list(schema.ParametrizationKind))
def test_the_first_step_is_measured_on_the_image(kind: schema.ParametrizationKind) -> None:
    settings = schema.LBFGS(line_search=NONE, first_step=0.01)
    settings.parametrization.kind = kind
    start = torch.rand(1, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    image = ImageParameter(start, settings.parametrization)

    def closure() -> Tensor:
        image.values.grad = None
        loss = 1e6 * (image() - 0.3).square().sum()
        loss.backward()
        return loss

    build_optimizer(image, settings).step(closure)
    # float32 pixels: seven digits, of which the small change leaves five
    assert mean_square_root(image().detach() - start) == pytest.approx(0.01, rel=1e-4)


def test_the_step_length_is_restored_if_the_objective_fails() -> None:
    problem = Problem(quadratic)
    optimizer = problem.ours(first_step=0.01)

    def fail() -> Tensor:
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        optimizer.step(fail)
    assert optimizer.param_groups[0]["lr"] == 1.0


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_a_line_search_keeps_to_its_number_of_evaluations(limit: int) -> None:
    # A first step so short that the search has to extrapolate many times.
    problem = Problem(quadratic)
    problem.ours(first_step=1e-12, max_evaluations=limit).step(problem.closure)
    assert len(problem.visited) - 1 == limit  # beside the start of the step


@pytest.mark.parametrize(("search", "lr"), SEARCHES)
def test_a_restored_state_resumes_bit_for_bit(search: schema.LineSearch, lr: float) -> None:
    whole = Problem(rosenbrock)
    optimizer = whole.ours(search, lr=lr, first_step=0.01)
    for _ in range(4):
        optimizer.step(whole.closure)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    part = Problem(rosenbrock, whole.x.detach())
    restored = part.ours(search, lr=lr, first_step=0.01)
    file.seek(0)
    restored.load_state_dict(torch.load(file, weights_only=True))
    for _ in range(6):
        assert float(restored.step(part.closure)) == float(optimizer.step(whole.closure))
        assert torch.equal(part.x, whole.x)


def test_carried_moments_are_resampled_as_by_crowsonkb() -> None:
    """Bicubically and bilinearly, of gradients that differ by orders of magnitude."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.exp(2 * torch.randn(1, 3, 12, 10, generator=generator))
    mean[..., ::2] *= -1
    state = {"step": torch.tensor(300.0), "exp_avg": mean, "exp_avg_sq": mean.square()}
    carried = carry_state(state, 17, 15)
    for name, kernel in (("exp_avg", cubic), ("exp_avg_sq", linear)):
        expected = resampled(state[name].double(), 17, 15, kernel)
        error = (carried[name] - expected).abs().max() / expected.abs().max()
        assert float(error) < 1e-6, name  # float32
    assert float(carried["exp_avg_sq"].min()) > 0
    assert float(carried["step"]) == 300.0
    square = carry_state({"square_avg": mean.square()}, 17, 15)["square_avg"]  # RMSprop's
    assert torch.equal(square, carried["exp_avg_sq"])


def test_rmsprop_follows_its_formula() -> None:
    """In float64, over ten steps: s = d s + (1 - d) g^2; x = x - lr g / (root s + eps)."""
    settings = schema.RMSprop(lr=0.03, smoothing=0.9, eps=1e-3)
    settings.parametrization = schema.Parametrization(schema.ParametrizationKind.pixels, 1.0)
    start = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    image = ImageParameter(start, settings.parametrization).double()
    optimizer = build_optimizer(image, settings)
    x, mean = start.double(), torch.zeros(1, 3, 4, 5, dtype=torch.float64)
    for _ in range(10):
        image.values.grad = None
        (image() - 0.3).pow(4).sum().backward()
        optimizer.step()
        gradient = 4 * (x - 0.3) ** 3
        mean = 0.9 * mean + 0.1 * gradient**2
        x = x - 0.03 * gradient / (mean.sqrt() + 1e-3)
        torch.testing.assert_close(image().detach(), x, rtol=1e-12, atol=1e-14)


def test_only_adam_and_rmsprop_in_pixels_carry_their_state() -> None:
    every = ((schema.Adam(), True), (schema.RMSprop(), True), (schema.LBFGS(), False))
    for settings, carried in every:
        settings.parametrization.kind = schema.ParametrizationKind.pixels
        assert carries_state(settings) is carried
        for kind in ("fourier", "laplacian"):
            settings.parametrization.kind = schema.ParametrizationKind[kind]
            assert not carries_state(settings)
