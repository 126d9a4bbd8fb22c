"""PixIF: its terms summed literally, and the ground of the pixels that it compares."""

from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from skimage.segmentation import felzenszwalb
from torch import Tensor
from torch.nn import functional as F

from sscl_geo.geo.inputs import BandInput
from sscl_geo.learn.batches import Batch
from sscl_geo.learn.debiased import DebiasedSpec, debiased_loss
from sscl_geo.learn.measuring import measure_statistics
from sscl_geo.learn.network import Encoder
from sscl_geo.learn.pretext import pixif
from sscl_geo.learn.spec import BackboneSpec, FeatureSpec, NetworkSpec

SIDE, COUNT, DRAWS = 32, 4, 300
RADAR, OPTICAL, RED_GREEN_BLUE = [0], [1, 2, 3, 4], [4, 3, 2]
CONTRAST = DebiasedSpec(temperature=0.3, same_class=0.05, hardness=0.5)


def task(reduce: Literal["pixel", "mean"], *, sensors: bool = True) -> pixif.PixIF:
    numbers = {"gsd": 10, "nodata": 0, "low": 0.0, "high": 99.0, "mean": 50.0, "spread": 20.0}
    bands = tuple(
        BandInput.model_validate({"name": band, "array": array, **numbers})
        for band, array in (
            ("sentinel1_rtc:VV", "r"),
            *((f"sentinel2_l2a:{band}", "o") for band in ("B08", "B02", "B03", "B04")),
        )
    )
    spec = NetworkSpec(
        bands=bands,
        features=FeatureSpec(layers=1, width=2),
        backbone=BackboneSpec(depth=18, width=4, output_stride=4, rates=(1,), context_width=8),
        has_masks=True,
    )
    settings = pixif.Settings(
        contrast=CONTRAST,
        pixel_dim=4,
        image_dim=4,
        draws=DRAWS,
        reduce=reduce,
        sensors=sensors,
    )
    torch.manual_seed(0)
    built = pixif.build(Encoder(spec), settings)
    assert built.encoder.masks is not None
    with torch.no_grad():
        built.encoder.masks.normal_()
    measure_statistics(built.encoder, lambda _: Batch(stored(), None))
    return built.eval()


def stored() -> dict[str, Tensor]:
    """Return fields of 8 pixels a side, each of its own colour; B08 is missing from the first."""
    generator = torch.Generator().manual_seed(0)
    fields = torch.randint(10, 90, (COUNT, 5, SIDE // 8, SIDE // 8), generator=generator)
    noise = torch.randint(-3, 4, (COUNT, 5, SIDE, SIDE), generator=generator)
    images = fields.repeat_interleave(8, 2).repeat_interleave(8, 3) + noise
    images[0, 1] = 0
    return {"r": images[:, RADAR], "o": images[:, OPTICAL]}


class Way(NamedTuple):
    """How a view came about: on each axis, y first, what is seen at u is of sign * u + shift."""

    sign: list[int]
    shift: list[float]

    def moved(self, image: Tensor) -> Tensor:
        """Return an image as its view shows it."""
        offsets = np.arange(SIDE) + 0.5 - SIDE / 2
        y, x = (s * offsets + t for s, t in zip(self.sign, self.shift, strict=True))
        return sampled(image, y, x, "reflect")

    def back(self, seen: Tensor) -> Tensor:
        """Return a map of a view on the grid of the image."""
        return sampled(seen, *self._from(), "nearest")

    def covers(self) -> np.ndarray:
        """Return which pixels of the image the view shows."""
        y, x = (np.abs(offsets) <= SIDE / 2 for offsets in self._from())
        return np.asarray(y[:, None] & x)

    def _from(self) -> tuple[np.ndarray, np.ndarray]:
        offsets = np.arange(SIDE) + 0.5 - SIDE / 2
        y, x = (s * (offsets - t) for s, t in zip(self.sign, self.shift, strict=True))
        return y, x


def sampled(planes: Tensor, y: np.ndarray, x: np.ndarray, mode: str) -> Tensor:
    """Return planes where rows and columns lie so far from the middle, in pixels."""
    places = np.meshgrid(y + SIDE / 2 - 0.5, x + SIDE / 2 - 0.5, indexing="ij")
    drawn = [map_coordinates(plane, places, order=1, mode=mode) for plane in planes.numpy()]
    return torch.from_numpy(np.stack(drawn))


def ways(generator: torch.Generator) -> list[Way]:
    """Return the ways that a generator draws: half are flipped, all move by up to a fifth."""
    axes = torch.randint(2, (COUNT,), generator=generator).tolist()
    flips = (torch.rand(COUNT, generator=generator) < 0.5).tolist()
    shifts = (SIDE / 5 * (2 * torch.rand(COUNT, 2, generator=generator) - 1)).tolist()
    return [
        Way([-1 if flip and axis == a else 1 for a in (1, 0)], [dy, dx])
        for axis, flip, (dx, dy) in zip(axes, flips, shifts, strict=True)
    ]


def superpixels(images: Tensor) -> list[np.ndarray]:
    visible = images[:, RED_GREEN_BLUE].movedim(1, -1).numpy()
    scaled = [(one - one.min()) / (one.max() - one.min()) for one in visible]
    return [felzenszwalb(one, scale=200, sigma=0.5, min_size=30) for one in scaled]


def pixel_term(
    maps: list[Tensor], images: Tensor, drawn: list[Way], generator: torch.Generator, reduce: str
) -> Tensor:
    """Return the loss of one pixel, or mean, of each superpixel that was drawn where both see."""
    numbers, covers = superpixels(images), [way.covers() for way in drawn]
    kept: dict[tuple[int, int], tuple[int, int]] = {}
    for place in torch.randint(COUNT * SIDE**2, (DRAWS,), generator=generator).tolist():
        image, y, x = place // SIDE**2, place // SIDE % SIDE, place % SIDE
        if covers[image][y, x]:
            kept.setdefault((image, int(numbers[image][y, x])), (y, x))
    assert COUNT < len(kept) < DRAWS / 2

    def vector(one: Tensor, image: int, number: int, place: tuple[int, int]) -> Tensor:
        if reduce == "pixel":
            return one[image, :, place[0], place[1]]
        mine = torch.from_numpy((numbers[image] == number) & covers[image])
        return one[image][:, mine].mean(1)

    pairs = [torch.stack([vector(m, *key, at) for key, at in kept.items()]) for m in maps]
    return debiased_loss(pairs[0], pairs[1], CONTRAST)


@pytest.mark.parametrize("reduce", ["pixel", "mean"])
@pytest.mark.parametrize("sensors", [True, False])
@torch.no_grad()
def test_the_loss_is_the_sum_of_what_pixels_images_and_sensors_say(
    reduce: Literal["pixel", "mean"], sensors: bool
) -> None:
    built = task(reduce, sensors=sensors)
    images = built.encoder.normalise(stored()).values
    absent = built.encoder.normalise(stored()).is_absent
    assert absent.sum() == 1
    generator = torch.Generator().manual_seed(1)
    drawn = ways(generator)
    assert {tuple(way.sign) for way in drawn} == {(1, 1), (1, -1), (-1, 1)}
    moved = torch.stack([way.moved(image) for way, image in zip(drawn, images, strict=True)])

    maps = [built.encoder(one, absent) for one in (moved, images)]
    seen, still = (F.interpolate(built.pixel_head(m), (SIDE, SIDE), mode="bilinear") for m in maps)
    back = torch.stack([way.back(one) for way, one in zip(drawn, seen, strict=True)])
    expected = pixel_term([back, still], images, drawn, generator, reduce)

    def image_vector(one: Tensor, hidden: list[int]) -> Tensor:
        shown = one.clone()
        shown[:, hidden] = 0
        is_absent = absent.clone()
        is_absent[:, hidden] = True
        vectors: Tensor = built.image_head(built.encoder(shown, is_absent).mean((2, 3)))
        return vectors

    expected += debiased_loss(image_vector(moved, []), image_vector(images, []), CONTRAST)
    for one in (moved, images) if sensors else ():
        alone = image_vector(one, OPTICAL), image_vector(one, RADAR)
        expected += debiased_loss(*alone, CONTRAST)

    found = built(Batch(stored(), None), torch.Generator().manual_seed(1))
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("reduce", ["pixel", "mean"])
def test_pixels_that_are_compared_are_of_the_same_ground(reduce: Literal["pixel", "mean"]) -> None:
    built: Any = task(reduce)
    built.pixel_head = torch.nn.Identity()
    images = built.encoder.normalise(stored()).values
    places = torch.stack(torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij"))
    places = places.float().expand(COUNT, 2, SIDE, SIDE)
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        view = pixif._moved(torch.cat([images, places], 1), generator)
        maps = [view.images[:, -2:], places]
        first, second = built._pixels(maps, view, images, generator)
        assert len(first) > COUNT
        # The outermost pixels of a view hold no ground beyond their centres.
        assert (first - second).abs().max() <= 0.5 + 1e-3
