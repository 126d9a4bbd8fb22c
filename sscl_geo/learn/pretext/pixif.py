"""PixIF: pixels of one superpixel, whole images, and sensors agree across two views.

Chen and Bruzzone 2022, "Self-supervised SAR-optical data fusion of Sentinel-1/-2 images", and their
code. Superpixels are those of Felzenszwalb and Huttenlocher 2004 on the red, green and blue of each
patch; theirs were made once per image, before cropping. Images and single sensors share one head
on the mean of the last map, with the other sensor's bands hidden; theirs have one for each encoder.
Views are not cropped to their middle, only pixels of the same rank push, and the schedule is ours.
"""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from pydantic import Field
from skimage.segmentation import felzenszwalb
from torch import Tensor, nn
from torch.nn import functional as F

from sscl_geo.frozen import Frozen
from sscl_geo.learn.batches import Batch
from sscl_geo.learn.chance import integers, uniform
from sscl_geo.learn.debiased import DebiasedSpec, debiased_loss
from sscl_geo.learn.inputs import Normalised
from sscl_geo.learn.network import Encoder
from sscl_geo.learn.views import View, on_the_image

SCALE, SIGMA, SMALLEST = 200, 0.5, 30
TRANSLATION = 0.2
"""How far a view is moved, as a share of its side."""

VISIBLE = ("B04", "B03", "B02")


class Settings(Frozen):
    """Strengths of PixIF.

    Attributes:
        contrast: Numbers of the loss.
        pixel_dim: Length of a pixel's embedding.
        image_dim: Length of an image's embedding.
        draws: Random pixels per batch, of which one per superpixel is kept.
        reduce: `pixel` compares single pixels, as the authors' released code does; `mean` the means
            over superpixels, as their text says.
        sensors: Whether images of single sensors agree too.
    """

    contrast: DebiasedSpec = DebiasedSpec()
    pixel_dim: int = Field(default=128, ge=2)
    image_dim: int = Field(default=64, ge=2)
    draws: int = Field(default=2000, ge=2)
    reduce: Literal["pixel", "mean"] = "pixel"
    sensors: bool = True


class PixIF(nn.Module):
    """The pretext task: trains the whole encoder; its heads are thrown away.

    Args:
        encoder: The encoder to train.
        settings: Strengths.
    """

    def __init__(self, encoder: Encoder, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.encoder = encoder
        width = encoder.spec.backbone.context_width
        self.pixel_head = nn.Conv2d(width, settings.pixel_dim, 1)
        self.image_head = nn.Linear(width, settings.image_dim)
        names = [band.name.partition(":")[::2] for band in encoder.spec.bands]
        self._sensors = [
            [index for index, (sensor, _) in enumerate(names) if sensor == wanted]
            for wanted in dict.fromkeys(sensor for sensor, _ in names)
        ]
        by_band = {band.split("@")[0]: index for index, (_, band) in enumerate(names)}
        visible = [by_band[band] for band in VISIBLE if band in by_band]
        self._visible = visible if len(visible) == len(VISIBLE) else list(range(min(3, len(names))))

    def forward(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        """Return the sum of the terms of pixels, images and sensors."""
        bands: Normalised = self.encoder.normalise(batch.stored)
        images, is_absent = bands.values, bands.is_absent
        view = _moved(images, generator)
        maps = [self.encoder(seen, is_absent) for seen in (view.images, images)]
        spec = self.settings.contrast
        loss = debiased_loss(*self._pixels(maps, view, images, generator), spec)
        pooled = [self.image_head(context.mean((2, 3))) for context in maps]
        loss = loss + debiased_loss(pooled[0], pooled[1], spec)
        if self.settings.sensors and len(self._sensors) > 1:
            for seen in (view.images, images):
                alone = [self._of_sensor(seen, is_absent, own) for own in self._sensors[:2]]
                loss = loss + debiased_loss(alone[0], alone[1], spec)
        return loss

    def _of_sensor(
        self,
        images: Float[Tensor, "batch band y x"],
        is_absent: Bool[Tensor, "batch band"],
        own: list[int],
    ) -> Float[Tensor, "batch dim"]:
        is_hidden = torch.ones_like(is_absent)
        is_hidden[:, own] = is_absent[:, own]
        only = images.masked_fill(is_hidden[:, :, None, None], 0.0)
        vectors: Tensor = self.image_head(self.encoder(only, is_hidden).mean((2, 3)))
        return vectors

    def _pixels(
        self,
        maps: list[Tensor],
        view: View,
        images: Float[Tensor, "batch band y x"],
        generator: torch.Generator,
    ) -> tuple[Float[Tensor, "pixel dim"], Float[Tensor, "pixel dim"]]:
        size = (images.shape[2], images.shape[3])
        raised = [
            F.interpolate(self.pixel_head(m).float(), size=size, mode="bilinear") for m in maps
        ]
        back, covers = on_the_image(raised[0], view)
        segments = _segments(images[:, self._visible]).to(images.device)
        places = integers(generator, 0, segments.numel(), self.settings.draws)
        places = places.to(images.device)
        places = places[covers.flatten()[places]]
        ids = segments.flatten()[places]
        # The first draw of each superpixel.
        order = ids.sort(stable=True).indices
        is_first = torch.ones_like(ids, dtype=torch.bool)
        is_first[1:] = ids[order][1:] != ids[order][:-1]
        kept = places[order[is_first]]
        flat = [one.movedim(1, -1).flatten(0, 2) for one in (back, raised[1])]
        if self.settings.reduce == "mean":
            flat = [_means(one, segments.flatten(), covers.flatten()) for one in flat]
        return flat[0][kept], flat[1][kept]


def _moved(images: Float[Tensor, "batch band y x"], generator: torch.Generator) -> View:
    """Return images flipped in one direction half of the time, and moved."""
    batch = len(images)
    to_image = torch.eye(3).repeat(batch, 1, 1)
    axis = integers(generator, 0, 2, batch)
    is_flipped = 2 * uniform(generator, batch) < 1
    to_image[torch.arange(batch), axis, axis] = 1 - 2 * is_flipped.float()
    to_image[:, :2, 2] = 2 * TRANSLATION * (2 * uniform(generator, batch, 2) - 1)
    to_image = to_image.to(images.device)
    grid = F.affine_grid(to_image[:, :2], list(images.shape), align_corners=False)
    moved = F.grid_sample(
        images.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    return View(moved, torch.linalg.inv(to_image))


def _segments(visible: Float[Tensor, "batch 3 y x"]) -> Int64[Tensor, "batch y x"]:
    """Return superpixels, numbered through over the batch."""
    found, following = [], 0
    for image in visible.detach().float().cpu().numpy():
        low, high = image.min(), image.max()
        scaled = np.moveaxis((image - low) / max(high - low, 1e-6), 0, -1)
        numbers = felzenszwalb(scaled, scale=SCALE, sigma=SIGMA, min_size=SMALLEST)
        found.append(numbers.astype(np.int64) + following)
        following += int(numbers.max()) + 1
    return torch.from_numpy(np.stack(found))


def _means(
    vectors: Float[Tensor, "pixel dim"],
    ids: Int64[Tensor, " pixel"],
    counts: Tensor,
) -> Float[Tensor, "pixel dim"]:
    """Return for every pixel the mean over the covered pixels of its superpixel."""
    weight = counts.to(vectors.dtype)[:, None]
    segments = int(ids.max()) + 1
    total = vectors.new_zeros(segments, vectors.shape[1]).index_add(0, ids, vectors * weight)
    number = weight.new_zeros(segments, 1).index_add(0, ids, weight)
    return (total / number.clamp(min=1))[ids]


def build(encoder: Encoder, settings: Settings) -> PixIF:
    """Return the task for an encoder."""
    return PixIF(encoder, settings)
