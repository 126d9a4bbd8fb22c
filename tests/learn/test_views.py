"""Views: what is moved comes back to where it was."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.learn.degradations import BlurSpec
from sscl_geo.learn.views import drawn_view, on_the_image

SHARP = BlurSpec(probability=0.0)


@given(seed=st.integers(0, 10_000))
def test_a_view_brought_back_is_the_image_where_it_covers_it(seed: int) -> None:
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    image = torch.stack([x, y, x * y])[None]
    view = drawn_view(image, 0.3, SHARP, torch.Generator().manual_seed(seed))
    back, covers = on_the_image(view.images, view)
    share = covers.float().mean()
    assert 0.25 < share <= 1
    inner = torch.nn.functional.max_pool2d(~covers[:, None] * 1.0, 7, 1, 3) == 0
    gap = (back - image).abs() * inner
    assert gap[:, :, 4:-4, 4:-4].max() < 0.05


def test_the_same_draw_makes_the_same_view() -> None:
    image = torch.randn(2, 3, 16, 16)
    one, other = (
        drawn_view(image, 0.2, BlurSpec(), torch.Generator().manual_seed(4)) for _ in "ab"
    )
    assert torch.equal(one.images, other.images)
