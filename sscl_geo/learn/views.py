"""Views of an image that differ in place, scale, turn and blur, and the way back to its grid."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from sscl_geo.learn.chance import integers, uniform
from sscl_geo.learn.degradations import BlurSpec, blurred


class View(NamedTuple):
    """A view of a batch.

    Attributes:
        images: The view.
        to_view: Affine maps, in coordinates of -1..1, from the image's grid to the view's.
    """

    images: Float[Tensor, "batch band y x"]
    to_view: Float[Tensor, "batch 3 3"]


def drawn_view(
    images: Float[Tensor, "batch band y x"],
    smallest: float,
    blur: BlurSpec,
    generator: torch.Generator,
) -> View:
    """Return a random view: a crop brought back to full size, turned, flipped, and maybe blurred.

    Args:
        images: Normalised images.
        smallest: Smallest share of an image's area that a crop takes.
        blur: Chance and strength of the blur.
        generator: Source of all chance, on the CPU, alike on all ranks.
    """
    batch = len(images)
    side = (smallest + (1 - smallest) * uniform(generator, batch)).sqrt()
    middle = (2 * uniform(generator, batch, 2) - 1) * (1 - side[:, None])
    turns = integers(generator, 0, 4, batch) * (torch.pi / 2)
    flip = 1 - 2 * integers(generator, 0, 2, batch)
    to_image = torch.zeros(batch, 3, 3)
    cosine, sine = turns.cos().round(), turns.sin().round()
    to_image[:, 0, 0], to_image[:, 0, 1] = side * cosine * flip, -side * sine
    to_image[:, 1, 0], to_image[:, 1, 1] = side * sine * flip, side * cosine
    to_image[:, :2, 2], to_image[:, 2, 2] = middle, 1
    to_image = to_image.to(images.device)
    grid = F.affine_grid(to_image[:, :2], list(images.shape), align_corners=False)
    cropped = F.grid_sample(
        images.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    return View(blurred(cropped, blur, generator), torch.linalg.inv(to_image))


def on_the_image(
    features: Float[Tensor, "batch plane y x"], view: View
) -> tuple[Float[Tensor, "batch plane y x"], Bool[Tensor, "batch y x"]]:
    """Return features of a view on its image's grid, and where the view covers it."""
    grid = F.affine_grid(view.to_view[:, :2], list(features.shape), align_corners=False)
    moved = F.grid_sample(
        features.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return moved, (grid.abs() <= 1).all(-1)
