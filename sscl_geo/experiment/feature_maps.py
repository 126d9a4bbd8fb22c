"""The penultimate maps of pretrained systems on one chip, beside the chip itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sscl_geo.experiment.curve import png_of
from sscl_geo.experiment.features import Arrays, encoded, image_of, loaded
from sscl_geo.geo.cube import BandSource
from sscl_geo.geo.legend import Legend
from sscl_geo.geo.sensor import Sensor
from sscl_geo.io.chips import Chips
from sscl_geo.ops.resolution import COMPONENTS, detail, principal
from sscl_geo.ops.scaling import physical
from sscl_geo.stages.report.pictures import PAPER, STRETCH

ACROSS = (3, 4, 5)
"""How many panels a row may have."""

TRUE_COLOUR = ("red", "green", "blue")
GREY = 127
CAPTION = (
    "First three principal components of each system's last map; its detail as a ratio to the "
    "image's, which is 1."
)


class Panel(NamedTuple):
    """A picture and what it is."""

    title: str
    image: UInt8[np.ndarray, "y x 3"]


def most_varied(labels: UInt8[np.ndarray, "sample y x"]) -> int:
    """Return the number of the chip of the greatest entropy of classes times labelled share."""
    counts = np.stack([np.bincount(one.ravel(), minlength=256)[1:] for one in labels])
    share = counts / labels[0].size
    entropy = -(share * np.log(np.where(share > 0, share, 1.0))).sum(1)
    return int((entropy * share.sum(1)).argmax())


def panels(chips: Chips, encoders: Sequence[tuple[str, Path]]) -> list[Panel]:
    """Return a chip, its labels, and the maps of every encoder, with how much detail each keeps.

    A map shows its first three principal components as red, green and blue, each turned so that it
    rises with the first of the image's own.

    Args:
        chips: One chip.
        encoders: Names and bundles.
    """
    names = [band.name for band in chips.spec.bands]
    arrays, labels = next(chips.read(names))
    legend = Legend.model_validate(chips.spec.legend)
    shown = [*_image_panels(chips, arrays), Panel("labels", _colored(labels, legend))]
    for name, path in encoders:
        encoder = loaded(path)
        mine, _ = next(chips.read([band.name for band in encoder.spec.bands]))
        features, image = encoded(mine, encoder, None), image_of(mine, encoder)
        found = detail(features, image)
        title = name
        if found is not None:
            title += f"\ngradient {found.gradient:.2f}, frequency {found.frequency:.2f}"
        like = [*principal(image), *image][0]
        shown.append(Panel(title, colour_of(principal(features), like)))
    return shown


def colour_of(
    components: Float32[np.ndarray, "component y x"], like: Float32[np.ndarray, "y x"]
) -> UInt8[np.ndarray, "y x 3"]:
    """Return components as colours, each turned to rise with a plane; absent ones are grey."""
    image = np.full((*like.shape, COMPONENTS), GREY, np.uint8)
    for index, plane in enumerate(components):
        turned = plane if (plane * (like - like.mean())).sum() >= 0 else -plane
        image[..., index] = _stretched(turned)
    return image


def feature_picture(shown: Sequence[Panel], legend: Legend) -> bytes:
    """Return panels as a PNG, in rows over the names of the classes."""
    # As many a row as leave the fewest gaps in the last.
    across = min(ACROSS, key=lambda many: (-len(shown) % many, -many))
    rows = -(-len(shown) // across)
    figure = Figure(figsize=(2.6 * across, 0.8 + 2.95 * rows), layout="constrained")
    figure.suptitle(CAPTION, fontsize=9, x=0.01, ha="left")
    for number, panel in enumerate(shown, 1):
        axes = figure.add_subplot(rows, across, number)
        axes.imshow(panel.image, interpolation="nearest")
        axes.set_title(panel.title, fontsize=9, loc="left")
        axes.set_axis_off()
    keys = [Patch(facecolor=item.color, label=item.name) for item in legend.classes]
    figure.legend(handles=keys, loc="outside lower left", ncols=6, fontsize=8, frameon=False)
    return png_of(figure)


def _image_panels(chips: Chips, arrays: Arrays) -> list[Panel]:
    """Return true colour, or the first optical band where there is none; and the first of radar."""
    made = []
    for kind in ("optical", "sar"):
        mine = [source for source in chips.spec.bands if _sensor(chips, source).kind == kind]
        named = {source.band.common_name: source for source in mine}
        if all(name in named for name in TRUE_COLOUR):
            colours = [named[name] for name in TRUE_COLOUR]
            made.append(Panel("true colour", _image(chips, arrays, colours)))
        elif mine:
            made.append(Panel(mine[0].name, _image(chips, arrays, mine[:1] * 3)))
    return made


def _sensor(chips: Chips, source: BandSource) -> Sensor:
    return next(sensor for sensor in chips.spec.sensors if sensor.name == source.sensor)


def _image(
    chips: Chips, arrays: Arrays, sources: Sequence[BandSource]
) -> UInt8[np.ndarray, "y x 3"]:
    planes = np.stack([arrays[source.place.key][source.index] for source in sources])
    values = physical(planes, _sensor(chips, sources[0]))
    image = _stretched(values).transpose(1, 2, 0)
    return np.where(np.isnan(values).any(0)[..., None], np.array(PAPER, np.uint8), image)


def _stretched(values: Float32[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Return values between two percentiles as bytes; NaN becomes 0."""
    if not np.isfinite(values).any():
        return np.zeros(values.shape, np.uint8)
    low, high = np.nanpercentile(values, STRETCH)
    scaled = np.clip((values - low) / max(high - low, 1e-6), 0, 1)
    return np.asarray(np.nan_to_num(255 * scaled).astype(np.uint8))


def _colored(labels: UInt8[np.ndarray, "y x"], legend: Legend) -> UInt8[np.ndarray, "y x 3"]:
    table = np.full((256, 3), PAPER, np.uint8)
    for item in legend.classes:
        table[item.value] = item.rgb
    return np.asarray(table[labels])
