"""torch's optimizers, set up for one image."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from nst_exp.config import schema
from nst_exp.core.parametrization import ImageParameter


class _Evaluation(NamedTuple):
    values: Tensor
    gradient: Tensor
    loss: Tensor


class LBFGS(torch.optim.LBFGS):
    """torch's L-BFGS that does not evaluate the objective twice at the same point.

    With one iteration per step, torch evaluates the objective again at the start of each step,
    where the line search of the previous step has just done so: twice the cost. The last and the
    lowest evaluation are cached and used while the parameter has exactly the same values. The cache
    is not part of the checkpoint, since it changes no number.

    torch's first step moves all values together by ``lr`` (it is ``-g/|g|_1``): for an image
    that is almost nothing, and the first curvature estimate is noise. ``first_step`` asks for a
    change of the image instead, as ``length`` measures it for a change of the parameter.

    Without a line search a step longer than ``max_step`` is shortened to it, and the next curvature
    estimate is that of the step as it was made.
    """

    def __init__(
        self,
        parameter: nn.Parameter,
        settings: schema.LBFGS,
        length: Callable[[Tensor], float],
        reuse: bool = True,
    ) -> None:
        """Minimize over ``parameter``; with ``reuse`` evaluations hold in the next step as well."""
        self.searches = settings.line_search is schema.LineSearch.strong_wolfe
        super().__init__(
            [parameter],
            lr=settings.lr,
            max_iter=1,
            # The start of a step uses one of these, and a line search one more than remain.
            max_eval=settings.max_evaluations,
            history_size=settings.history,
            # torch's absolute tolerances would end a run that still improves.
            tolerance_grad=0.0,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe" if self.searches else None,
        )
        self.parameter, self.length = parameter, length
        self.first_step, self.reuse = settings.first_step, reuse
        self.max_step = settings.max_step
        self.cached: list[_Evaluation] = []

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Make one iteration; ``closure`` evaluates the objective and fills the gradient."""
        evaluate = functools.partial(self._evaluate, closure)
        group = self.param_groups[0]
        fresh = not self.state[self.parameter].get("n_iter", 0)
        if fresh or not self.reuse:  # after a divergence, a cached gradient may be corrupted
            self.cached.clear()
        if self.first_step is None or not fresh:
            return self._bounded_step(evaluate)
        with torch.enable_grad():
            evaluate()  # is cached for the step
        gradient = cast(Tensor, self.parameter.grad)
        unit = self.length(gradient / gradient.abs().sum())
        lr = group["lr"]
        group["lr"] = lr * self.first_step / unit if unit > 0.0 else lr
        try:
            return self._bounded_step(evaluate)
        finally:
            group["lr"] = lr

    def _bounded_step(self, evaluate: Callable[[], Tensor]) -> Any:
        if self.searches:
            return super().step(evaluate)  # type: ignore[no-untyped-call]
        start = None if self.max_step is None else self.parameter.detach().clone()
        loss = super().step(evaluate)  # type: ignore[no-untyped-call]
        self.cached.clear()  # the next step begins where nothing is known
        if self.max_step is None or start is None:
            return loss
        change = self.parameter.detach() - start
        length = self.length(change)
        if length > self.max_step:
            share = self.max_step / length
            with torch.no_grad():
                self.parameter.copy_(start + share * change)
            self.state[self.parameter]["t"] *= share  # torch's curvature pair is (t * d, y)
        return loss

    def _evaluate(self, closure: Callable[[], Any]) -> Tensor:
        parameter = self.parameter
        for known in self.cached:
            if torch.equal(known.values, parameter.detach()):
                parameter.grad = known.gradient.clone()
                return known.loss
        loss = torch.as_tensor(closure()).detach()
        gradient = cast(Tensor, parameter.grad).clone()
        new = _Evaluation(parameter.detach().clone(), gradient, loss)
        lowest = min([*self.cached, new], key=lambda known: float(known.loss))
        self.cached = [new] if lowest is new else [new, lowest]
        return loss


def build_optimizer(
    image: ImageParameter, settings: schema.Optimizer, reuse: bool = True
) -> torch.optim.Optimizer:
    """Build the optimizer of ``settings`` over the image's values.

    Without ``reuse`` no evaluation holds in the next step, whose function is another one.
    """
    if isinstance(settings, schema.Adam):
        # A step of 1e25 diverges; torch's Adam raises RuntimeError for lengths beyond float32.
        lr, betas = min(settings.lr, 1e25), (settings.beta1, settings.beta2)
        return torch.optim.Adam([image.values], lr=lr, betas=betas, eps=settings.eps)
    if isinstance(settings, schema.RMSprop):
        lr, decay = min(settings.lr, 1e25), settings.smoothing
        return torch.optim.RMSprop([image.values], lr=lr, alpha=decay, eps=settings.eps)
    return LBFGS(image.values, cast(schema.LBFGS, settings), image.length, reuse)


def carries_state(settings: schema.Optimizer) -> bool:
    """Tell whether the next level of a pyramid takes the state over.

    It does for Adam and RMSprop in pixels; L-BFGS, Fourier coefficients and Laplacian pyramids
    start afresh.
    """
    pixels = settings.parametrization.kind is schema.ParametrizationKind.pixels
    return pixels and not isinstance(settings, schema.LBFGS)


def carry_state(state: dict[str, Tensor], height: int, width: int) -> dict[str, Tensor]:
    """Resample Adam's or RMSprop's state of one level, (1, 3, h, w), to the next level's size.

    As crowsonkb/style-transfer-pytorch does: the mean of the gradients bicubically, that of their
    squares bilinearly, since bicubic undershoots to 0 next to large values, and both divide by the
    root. The gradients of both levels must belong to the same multiple of the loss.
    """
    modes = {"exp_avg": "bicubic", "exp_avg_sq": "bilinear", "square_avg": "bilinear"}
    return {
        name: interpolate(value, size=(height, width), mode=modes[name])
        if name in modes
        else value.clone()
        for name, value in state.items()
    }
