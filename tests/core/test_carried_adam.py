"""What Adam carries from one level of a pyramid to the next."""

from __future__ import annotations

import torch
from torch import Tensor

from nst_exp.core.optimizers import carry_adam_state


def adam_state(seed: int = 0) -> dict[str, Tensor]:
    """Moments of Adam after 300 gradients, whose size differs by orders from pixel to pixel."""
    generator = torch.Generator().manual_seed(seed)
    spread = torch.exp(2 * torch.randn(1, 3, 12, 10, generator=generator))
    mean, square = torch.zeros(1, 3, 12, 10), torch.zeros(1, 3, 12, 10)
    for _ in range(300):
        gradient = spread * torch.randn(1, 3, 12, 10, generator=generator)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient.square()
    return {"step": torch.tensor(300.0), "exp_avg": mean, "exp_avg_sq": square}


def test_adam_takes_no_longer_steps_after_the_change_of_size() -> None:
    state = adam_state()
    carried = carry_adam_state(state, 24, 20)
    before, after = ((s["exp_avg"].abs() / s["exp_avg_sq"].sqrt()).max() for s in (state, carried))
    assert carried["exp_avg"].shape == carried["exp_avg_sq"].shape == (1, 3, 24, 20)
    assert float(carried["exp_avg_sq"].min()) > 0
    # By Jensen's inequality: means with the same weights of m and of v >= (m / bound)^2.
    assert float(after) <= float(before) * (1 + 1e-5)


def test_even_moments_are_carried_as_they_are() -> None:
    state = {"exp_avg": torch.full((1, 3, 4, 4), -2.0), "exp_avg_sq": torch.full((1, 3, 4, 4), 5.0)}
    carried = carry_adam_state(state, 7, 9)
    torch.testing.assert_close(carried["exp_avg"], torch.full((1, 3, 7, 9), -2.0))
    torch.testing.assert_close(carried["exp_avg_sq"], torch.full((1, 3, 7, 9), 5.0))


def test_the_count_of_steps_is_a_copy() -> None:
    state = adam_state()
    carried = carry_adam_state(state, 12, 10)
    carried["step"] += 1
    assert float(state["step"]) == 300.0
