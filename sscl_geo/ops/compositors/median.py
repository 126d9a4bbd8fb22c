"""Median over time of each band.

Missing observations do not leave the network of comparators: each pixel's are filled by turns with
0 and 65535, the lowest and the highest DN, first 0 if the number `n` of images is even, else first
65535. Of an odd number of observations the median then is the pixel's value of rank `n // 2`, and
of an even number the middle two are those of rank `n // 2 - 1` and `n // 2`.
"""

import numpy as np
from jaxtyping import Bool, UInt8, UInt16

from sscl_geo.ops.observation import NODATA, Composite, strips
from sscl_geo.ops.sorting_network import ranked

JOINT = False
BY_QUALITY = False

MOST_PX = 2**15
"""Pixels of a strip; its images stay in a core's cache."""

MOST_SAMPLES = 12 * MOST_PX
"""Samples of a strip over all times: 0.8 MB, of which some four copies are held."""

HIGHEST = 65535
Image = UInt16[np.ndarray, "y x"]
Images = list[Image]


def composite(
    stack: UInt16[np.ndarray, "time band y x"], weights: UInt8[np.ndarray, "time y x"]
) -> Composite:
    """Return the median of each pixel's observations in each band.

    Args:
        stack: Canonical DN, 0 where there is no observation.
        weights: 0 where the ground was hidden; other values count alike.

    Of an even number of observations the median is the mean of the middle two, rounded half up:
    `floor(numpy.nanmedian + 0.5)`.
    """
    time, bands, height, width = stack.shape
    pixels = np.empty((bands, height, width), np.uint16)
    for strip in strips(height, width, max(1, min(MOST_PX, MOST_SAMPLES // time))):
        is_seen = weights[:, *strip] != 0
        seen = None if is_seen.all() else _bits(is_seen)
        for band in range(bands):
            images = list(stack[:, band, *strip])
            pixels[band, *strip] = _median(images if seen is None else _both(images, seen))
    return Composite(pixels)


def _bits(mask: Bool[np.ndarray, "*shape"]) -> UInt16[np.ndarray, "*shape"]:
    """Return all bits set where the mask is, else none."""
    return np.negative(mask.view(np.int8)).astype(np.int16).view(np.uint16)


def _both(images: Images, seen: UInt16[np.ndarray, "time y x"]) -> Images:
    return [image & bits for image, bits in zip(images, seen, strict=True)]


def _median(images: Images) -> Image:
    counts = [np.count_nonzero(image) for image in images]
    some = [image for image, count in zip(images, counts, strict=True) if count]
    if not some:
        return np.zeros_like(images[0])
    if len(some) == 1:
        return some[0]
    middle = len(some) // 2
    if all(count in (0, images[0].size) for count in counts):
        lower, upper = ranked(some, ((len(some) - 1) // 2, middle))
        return _mean(lower, upper)
    full, is_odd = _filled(some)
    lower, upper = ranked(full, (middle - 1, middle))
    lower = np.maximum(lower, upper & is_odd)
    return np.asarray(_mean(lower, upper) & _bits(lower != NODATA))


def _filled(images: Images) -> tuple[Images, Image]:
    """Return images without gaps, and 65535 where the number of observations was odd, else 0."""
    fill = np.full_like(images[0], HIGHEST if len(images) % 2 else 0)
    full = []
    for image in images:
        missing = _bits(image == NODATA)
        full.append(image | (missing & fill))
        fill ^= missing
    return full, fill


def _mean(lower: Image, upper: Image) -> Image:
    """Return the mean rounded half up, without overflow (Warren 2013, Hacker's Delight, 2-5)."""
    return np.asarray((lower | upper) - ((lower ^ upper) >> np.uint16(1)))
