"""How CoRe damages an image: dropped channels, cut-out squares, blur."""

from typing import Annotated, NamedTuple

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.cube import Place
from sscl_geo.learn.chance import integers, uniform
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.sensors import band_of, sensor_of

Share = tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]]
Sigma = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


def _check_order(name: str, low: float, high: float) -> None:
    if low > high:
        raise InvalidInputError(f"{name} {low:g}, {high:g}: the smaller must come first")


class BlurSpec(Frozen):
    """Chance and strength of a Gaussian blur.

    Attributes:
        probability: Chance that an image is blurred.
        sigma: Smallest and largest standard deviation in pixels.
        kernel: Side of the kernel in pixels, odd.
    """

    probability: float = Field(default=0.5, ge=0, le=1)
    sigma: Sigma = (0.1, 2.0)
    kernel: int = Field(default=13, ge=1)

    @model_validator(mode="after")
    def _check(self) -> "BlurSpec":
        if self.kernel % 2 == 0:
            raise InvalidInputError(f"blur: kernel {self.kernel} must be odd")
        _check_order("blur: sigma", *self.sigma)
        return self


class DegradationSpec(Frozen):
    """Strengths; Montanaro et al. 2022 name the three kinds and leave their strengths open.

    Attributes:
        group_probability: Chance that, besides single bands, a whole group of bands is dropped.
        cutouts: Most squares cut out; at least one is.
        cutout_side: Smallest and largest side of a square as a fraction of the patch.
        blur: Chance and strength of the blur.
        blurs_last: Whether blur comes last, in the letter's order; otherwise cuts are made in the
            blurred image, so that they have sharp edges, and around them shows what they hide.
    """

    group_probability: float = Field(default=0.2, ge=0, le=1)
    cutouts: int = Field(default=4, ge=0)
    cutout_side: Share = (0.0625, 0.25)
    blur: BlurSpec = BlurSpec()
    blurs_last: bool = True

    @model_validator(mode="after")
    def _check(self) -> "DegradationSpec":
        _check_order("cutout_side", *self.cutout_side)
        return self


class Degraded(NamedTuple):
    """A damaged batch and where it was damaged."""

    bands: Float[Tensor, "batch band y x"]
    is_dropped: Bool[Tensor, "batch band"]
    is_cut: Bool[Tensor, "batch y x"]


def band_groups(spec: NetworkSpec) -> Bool[Tensor, "group band"]:
    """Return the groups of bands to drop together: a sensor's, a period's, 10 m optical ones.

    Dropping all bands that are 10 m on the satellite makes the network sharpen the coarser ones,
    whatever the pixels they are stored in; a dropped period is a cloudy one. Where bands make no
    groups, as those of one sensor at one time and resolution, there is one group without a band.
    """
    names = [band.name for band in spec.bands]
    sensors = [sensor_of(name) for name in names]
    periods = [Place.of(band.array).later for band in spec.bands]
    rows = [[mine == sensor for mine in sensors] for sensor in dict.fromkeys(sensors)]
    rows += [[mine == period for mine in periods] for period in dict.fromkeys(periods)]
    rows += [
        [
            sensor.kind == "optical" and sensor.group(band_of(name)) == "r10m"
            for name, sensor in zip(names, sensors, strict=True)
        ]
    ]
    proper = [row for row in rows if any(row) and not all(row)]
    return torch.tensor(proper or [[False] * len(names)])


def degrade(
    bands: Float[Tensor, "batch band y x"],
    is_absent: Bool[Tensor, "batch band"],
    groups: Bool[Tensor, "group band"],
    spec: DegradationSpec,
    generator: torch.Generator,
) -> Degraded:
    """Drop, cut out and blur, each sample by its own draw; dropped bands are exactly 0.

    Args:
        bands: Normalised bands.
        is_absent: Bands that a sample never had; one that it has always stays.
        groups: Bands that may be dropped together, one row a group.
        spec: Strengths.
        generator: Source of all chance, on the CPU, alike on all ranks.
    """
    batch, _, height, width = bands.shape
    is_dropped = _dropped(is_absent.cpu(), groups.cpu(), spec, generator).to(bands.device)
    is_cut = _cut(batch, height, width, spec, generator).to(bands.device)
    hidden = is_dropped[:, :, None, None] | is_cut[:, None]
    if spec.blurs_last:
        damaged = blurred(torch.where(hidden, 0.0, bands), spec.blur, generator)
    else:
        damaged = torch.where(hidden, 0.0, blurred(bands, spec.blur, generator))
    return Degraded(damaged, is_dropped, is_cut)


def _dropped(
    is_absent: Tensor, groups: Tensor, spec: DegradationSpec, generator: torch.Generator
) -> Bool[Tensor, "batch band"]:
    batch, count = is_absent.shape
    most = max(count // 2, 1)
    kept = integers(generator, 1, most + 1, batch, 1)
    order = uniform(generator, batch, count).argsort(1).argsort(1)
    chosen = integers(generator, 0, len(groups), batch)
    is_grouped = uniform(generator, batch, 1) < spec.group_probability
    is_dropped = (order < kept) | (groups[chosen] & is_grouped)
    # One band always stays: nothing can be learned from an empty image.
    last = order.masked_fill(is_absent, -1).argmax(1, keepdim=True)
    is_empty = (is_dropped | is_absent).all(1, keepdim=True)
    return is_dropped & ~((torch.arange(count) == last) & is_empty)


def _cut(
    batch: int, height: int, width: int, spec: DegradationSpec, generator: torch.Generator
) -> Bool[Tensor, "batch y x"]:
    if spec.cutouts == 0:
        return torch.zeros(batch, height, width, dtype=torch.bool)
    low, high = (max(int(side * min(height, width)), 1) for side in spec.cutout_side)
    side = integers(generator, low, high + 1, batch, spec.cutouts)
    top = (uniform(generator, batch, spec.cutouts) * (height - side + 1)).long()
    left = (uniform(generator, batch, spec.cutouts) * (width - side + 1)).long()
    is_used = torch.arange(spec.cutouts) < integers(generator, 1, spec.cutouts + 1, batch, 1)
    y, x = torch.arange(height)[:, None], torch.arange(width)
    top, left, side, is_used = (t[:, :, None, None] for t in (top, left, side, is_used))
    inside = (y >= top) & (y < top + side) & (x >= left) & (x < left + side)
    return (inside & is_used).any(1)


def blurred(
    bands: Float[Tensor, "batch band y x"], spec: BlurSpec, generator: torch.Generator
) -> Float[Tensor, "batch band y x"]:
    """Return images of which some are blurred, each with its own strength, all bands alike.

    A kernel is no wider than an image and its reflection allow.
    """
    batch, count, height, width = bands.shape
    low, high = spec.sigma
    sigma = low + (high - low) * uniform(generator, batch)
    is_blurred = uniform(generator, batch) < spec.probability
    pad = min(spec.kernel // 2, height - 1, width - 1)
    reach = torch.arange(-pad, pad + 1)
    kernel = torch.exp(-0.5 * (reach / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).to(bands)
    # One group per sample and band, so that every sample has its own kernel.
    planes = bands.reshape(1, batch * count, height, width)
    weights = kernel.repeat_interleave(count, 0)[:, None, :, None]
    vertical = F.conv2d(
        F.pad(planes, (0, 0, pad, pad), mode="reflect"), weights, groups=batch * count
    )
    both = F.conv2d(
        F.pad(vertical, (pad, pad, 0, 0), mode="reflect"), weights.mT, groups=batch * count
    ).reshape(bands.shape)
    return torch.where(is_blurred.to(bands.device)[:, None, None, None], both, bands)
