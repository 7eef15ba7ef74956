"""L-BFGS against torch's own: the same points, with fewer evaluations."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nst_exp.config import schema as config
from nst_exp.core.optimizers import LBFGS, build_optimizer
from nst_exp.core.parametrization import ImageParameter

Function = Callable[[Tensor], Tensor]


def quadratic(x: Tensor) -> Tensor:
    """Convex, condition number 100."""
    return 0.5 * (torch.linspace(1.0, 100.0, x.numel(), dtype=x.dtype) * (x - 1.0).square()).sum()


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[1:] - x[:-1].square()).square() + (1 - x[:-1]).square()).sum()


def mean_square_root(change: Tensor) -> float:
    return float(change.square().mean().sqrt())


FUNCTIONS = [quadratic, rosenbrock]
SEARCHES = [config.LineSearch.strong_wolfe, config.LineSearch.none]


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
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    def ours(
        self,
        search: config.LineSearch = config.LineSearch.strong_wolfe,
        first_step: float | None = None,
        lr: float = 1.0,
        evaluations: int = 1000,
    ) -> LBFGS:
        return LBFGS(
            self.x,
            config.LBFGS(
                lr=lr,
                history=5,
                line_search=search,
                max_evaluations=evaluations,
                first_step=first_step,
            ),
            mean_square_root,
        )

    def torchs(
        self, search: config.LineSearch, iterations: int = 1, lr: float = 1.0
    ) -> torch.optim.LBFGS:
        return torch.optim.LBFGS(
            [self.x],
            lr=lr,
            max_iter=iterations,
            max_eval=1000,
            history_size=5,
            tolerance_grad=0.0,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe" if search is config.LineSearch.strong_wolfe else None,
        )


def step_length(search: config.LineSearch) -> float:
    """Without a line search, a step that neither function diverges with."""
    return 1.0 if search is config.LineSearch.strong_wolfe else 0.5


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("search", SEARCHES)
def test_steps_are_torchs_iterations_bit_for_bit(
    function: Function, search: config.LineSearch
) -> None:
    lr = step_length(search)
    mine = Problem(function)
    optimizer = mine.ours(search, lr=lr)
    for iterations in range(1, 16):
        optimizer.step(mine.closure)
        theirs = Problem(function)
        theirs.torchs(search, iterations, lr).step(theirs.closure)
        assert torch.equal(mine.x, theirs.x), f"after {iterations} iterations"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_point_is_evaluated_twice(function: Function) -> None:
    """torch evaluates the start of every step again; the losses are the same without that."""
    mine, theirs = Problem(function), Problem(function)
    a, b = mine.ours(), theirs.torchs(config.LineSearch.strong_wolfe)
    steps = 20
    losses = [float(a.step(mine.closure)) for _ in range(steps)]
    assert losses == [float(b.step(theirs.closure).detach()) for _ in range(steps)]
    assert losses[-1] < 1e-2 * losses[0]
    assert len(theirs.visited) - len(mine.visited) == steps - 1
    # As many evaluations as torch's own single run over all iterations.
    whole = Problem(function)
    whole.torchs(config.LineSearch.strong_wolfe, steps).step(whole.closure)
    assert len(mine.visited) == len(whole.visited)


def test_gradient_of_a_remembered_point_is_put_back() -> None:
    problem = Problem(quadratic)
    optimizer = problem.ours()
    optimizer.step(problem.closure)
    optimizer.step(problem.closure)
    assert problem.x.grad is not None
    gradient = problem.x.grad.clone()
    problem.closure()
    assert torch.equal(gradient, problem.x.grad)


def test_a_parameter_changed_from_outside_is_evaluated_again() -> None:
    mine, theirs = Problem(rosenbrock), Problem(rosenbrock)
    a, b = mine.ours(), theirs.torchs(config.LineSearch.strong_wolfe)
    for index in range(8):
        if index in (3, 5):
            for problem in (mine, theirs):
                with torch.no_grad():
                    problem.x[2] += 1e-9  # however small
            start = mine.x.detach().clone()
            seen = len(mine.visited)
        assert float(a.step(mine.closure)) == float(b.step(theirs.closure).detach())
        if index in (3, 5):
            assert torch.equal(mine.visited[seen], start)
    assert torch.equal(mine.x, theirs.x)


def test_a_cleared_state_forgets_the_evaluations() -> None:
    """As after a divergence: a gradient that was spoilt must not come back."""
    problem = Problem(quadratic)
    optimizer = problem.ours()
    optimizer.step(problem.closure)
    seen, start = len(problem.visited), problem.x.detach().clone()
    optimizer.state.clear()
    optimizer.step(problem.closure)
    assert torch.equal(problem.visited[seen], start)


@pytest.mark.parametrize("lr", [1.0, 0.25])
def test_first_step_is_a_mean_change(lr: float) -> None:
    problem = Problem(quadratic)
    before = problem.x.detach().clone()
    optimizer = problem.ours(config.LineSearch.none, first_step=0.01, lr=lr)
    optimizer.step(problem.closure)
    change = mean_square_root(problem.x.detach() - before)
    assert change == pytest.approx(0.01 * lr, rel=1e-12)
    assert optimizer.param_groups[0]["lr"] == lr


@pytest.mark.parametrize("kind", list(config.ParametrizationKind))
def test_first_step_is_measured_on_the_image(kind: config.ParametrizationKind) -> None:
    settings = config.LBFGS(line_search=config.LineSearch.none, first_step=0.01)
    settings.parametrization.kind = kind
    start = torch.rand(1, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    image = ImageParameter(start, settings.parametrization)
    optimizer = build_optimizer(image, settings)

    def closure() -> Tensor:
        image.values.grad = None
        loss = 1e6 * (image() - 0.3).square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)
    # float32 pixels: seven digits, of which the small change leaves five
    assert mean_square_root(image().detach() - start) == pytest.approx(0.01, rel=1e-4)


def test_only_the_first_step_is_lengthened() -> None:
    """From the second on, the step is torch's, from wherever the first one led."""
    mine, theirs = Problem(quadratic), Problem(quadratic)
    a = mine.ours(config.LineSearch.none, first_step=1e-3)
    b = theirs.torchs(config.LineSearch.none)
    a.step(mine.closure)
    # torch's rule with lr as the length of the first step in all values together
    theirs.closure()
    assert theirs.x.grad is not None
    b.param_groups[0]["lr"] = 1e-3 / mean_square_root(theirs.x.grad / theirs.x.grad.abs().sum())
    b.step(theirs.closure)
    b.param_groups[0]["lr"] = 1.0
    assert torch.equal(mine.x, theirs.x)
    for _ in range(5):
        a.step(mine.closure)
        b.step(theirs.closure)
        assert torch.equal(mine.x, theirs.x)


def test_the_step_length_is_put_back_where_the_objective_fails() -> None:
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
    optimizer = problem.ours(first_step=1e-12, evaluations=limit)
    optimizer.step(problem.closure)
    assert len(problem.visited) - 1 == limit  # beside the start of the step


@pytest.mark.parametrize("search", SEARCHES)
def test_a_restored_state_goes_on_bit_for_bit(search: config.LineSearch) -> None:
    lr = step_length(search)
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


def parameter() -> ImageParameter:
    return ImageParameter(torch.rand(1, 3, 4, 4), config.Parametrization())


def test_adam_is_torchs_with_the_settings() -> None:
    optimizer = build_optimizer(parameter(), config.Adam(lr=3.0, beta1=0.8, beta2=0.95, eps=1e-7))
    assert type(optimizer) is torch.optim.Adam
    group = optimizer.param_groups[0]
    assert (group["lr"], group["betas"], group["eps"]) == (3.0, (0.8, 0.95), 1e-7)


def test_lbfgs_is_built_with_the_settings() -> None:
    settings = config.LBFGS(lr=0.5, history=7)
    optimizer = build_optimizer(parameter(), settings)
    assert type(optimizer) is LBFGS
    group = optimizer.param_groups[0]
    assert (group["lr"], group["history_size"], group["max_iter"]) == (0.5, 7, 1)


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(TypeError, match="Optimizer"):
        build_optimizer(parameter(), config.Optimizer())
