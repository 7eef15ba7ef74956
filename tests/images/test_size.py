"""Target sizes keep the aspect ratio, whatever is measured."""

from hypothesis import given
from hypothesis import strategies as st

from nst_exp.config.schema import SizeMode
from nst_exp.images import target_size

sides = st.integers(1, 60_000)


@given(sides, sides, st.integers(1, 20_000), st.sampled_from(SizeMode))
def test_each_side_is_the_exact_one_rounded(
    width: int, height: int, size: int, mode: SizeMode
) -> None:
    w, h = target_size(width, height, size, mode)
    measured, exact = {
        SizeMode.longest: (max(w, h), max(width, height)),
        SizeMode.shortest: (min(w, h), min(width, height)),
        SizeMode.height: (h, height),
        SizeMode.area: (size, (width * height) ** 0.5),
    }[mode]
    assert measured == size
    assert w == 1 or abs(w - width * size / exact) <= 0.5 + 1e-9 * w
    assert h == 1 or abs(h - height * size / exact) <= 0.5 + 1e-9 * h


def test_halves_are_rounded_up() -> None:
    assert target_size(2000, 1000, 511, SizeMode.longest) == (511, 256)
