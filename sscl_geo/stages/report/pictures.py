"""The pictures of a report, as addresses that hold their own bytes."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from jaxtyping import Float32, UInt8
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image
from pydantic import JsonValue

from sscl_geo.geo.cube import Place
from sscl_geo.geo.grid import Grid
from sscl_geo.geo.legend import Legend
from sscl_geo.geo.sensor import Sensor
from sscl_geo.io.cubes import Classes, Cube
from sscl_geo.io.layout import FULL_CONFIDENCE, NO_CONFIDENCE
from sscl_geo.io.maps import CONFIDENCE, COUNTS, layer_path, level_name
from sscl_geo.ops.scaling import physical

LARGEST_PX = 900
"""Longest side of a picture; larger areas are thinned out, pixel by pixel."""

PAPER = (244, 243, 239)
"""Colour of pixels without data."""

STRETCH = (2, 98)
"""Percentiles between which brightness is stretched."""


class Picture(NamedTuple):
    """A caption and a `data:` address."""

    caption: str
    address: str


def inputs_pictures(cube: Cube, grid: Grid, *, is_every_period: bool) -> Iterator[Picture]:
    """Yield true colour and VV of each period, or of the first that has any, and the clear days."""
    for make in (_true_colour, _radar):
        made = (make(cube, grid, time) for time in range(len(cube.spec.periods)))
        found = (picture for picture in made if picture is not None)
        yield from found if is_every_period else islice(found, 1)
    if is_every_period:
        yield from _valid_counts(cube, grid)


def _true_colour(cube: Cube, grid: Grid, time: int) -> Picture | None:
    names = [f"sentinel2_l2a:{band}" for band in ("B04", "B03", "B02")]
    values = seen_bands(cube, grid, names, time)
    if values is None:
        return None
    low, high = np.nanpercentile(values, STRETCH)
    period = cube.spec.periods[time].name
    return Picture(f"Sentinel-2 true colour, {period}", _address(_stretched(values, low, high)))


def _radar(cube: Cube, grid: Grid, time: int) -> Picture | None:
    names = [source.name for source in cube.bands() if source.band.name == "VV"][:1]
    values = seen_bands(cube, grid, names, time) if names else None
    if values is None:
        return None
    low, high = np.nanpercentile(values, STRETCH)
    grey = _stretched(np.repeat(values, 3, 0), low, high)
    period = cube.spec.periods[time].name
    return Picture(f"Sentinel-1 VV, {low:.0f} to {high:.0f} dB, {period}", _address(grey))


def _valid_counts(cube: Cube, grid: Grid) -> Iterator[Picture]:
    for sensor in cube.spec.sensors:
        path = f"{grid.zone}/r10m/n_valid_{sensor.array}"
        for time, period in enumerate(cube.spec.periods):
            counts = cube.store.thinned(path, (time,), LARGEST_PX)
            colors = mpl.colormaps["viridis"](counts / max(int(counts.max()), 1))[..., :3]
            caption = f"{sensor.name}: 0 (dark) to {int(counts.max())} observations, {period.name}"
            yield Picture(caption, _address((255 * colors).astype(np.uint8)))


def observations_pictures(mapped: Classes, grid: Grid) -> Iterator[Picture]:
    """Yield how often each sensor saw the ground of a map, in all periods."""
    names = mapped.store.names(f"{grid.zone}/{level_name(1)}")
    for name in (name for name in names if name.startswith(COUNTS)):
        counts = mapped.store.thinned(layer_path(grid.zone, name), (), LARGEST_PX)
        colors = mpl.colormaps["viridis"](counts / max(int(counts.max()), 1))[..., :3]
        sensor = name.removeprefix(COUNTS)
        caption = f"{sensor}: 0 (dark) to {int(counts.max())} observations in all periods"
        yield Picture(caption, _address((255 * colors).astype(np.uint8)))


def classes_picture(classes: Classes, grid: Grid, legend: Legend, caption: str) -> Picture:
    """Return classes in the legend's colours."""
    table = np.full((256, 3), PAPER, np.uint8)
    for item in legend.classes:
        table[item.value] = item.rgb
    labels = classes.thinned(grid.zone, LARGEST_PX)
    return Picture(caption, _address(table[labels]))


def confidence_picture(mapped: Classes, grid: Grid) -> Picture:
    """Return the probability of the mapped class, dark where the model is unsure."""
    path = layer_path(grid.zone, CONFIDENCE)
    levels = mapped.store.thinned(path, (), LARGEST_PX)
    colors = mpl.colormaps["viridis"](np.minimum(levels / FULL_CONFIDENCE, 1.0))[..., :3]
    image = (255 * colors).astype(np.uint8)
    image[levels == NO_CONFIDENCE] = PAPER
    return Picture("Confidence of the map: dark 0, bright 1", _address(image))


def curves_picture(history: Sequence[Mapping[str, JsonValue]]) -> Picture:
    """Return the loss of every phase by epoch, side by side."""
    phases = list(dict.fromkeys(str(entry["phase"]) for entry in history))
    figure = Figure(figsize=(3.1 * max(len(phases), 1), 2.3), layout="constrained")
    for number, phase in enumerate(phases, 1):
        axes = figure.add_subplot(1, len(phases), number)
        losses = [float(str(entry["loss"])) for entry in history if entry["phase"] == phase]
        axes.plot(range(1, len(losses) + 1), losses, marker="o", markersize=3, color="#1f6b2c")
        axes.set_title(phase, fontsize=10, loc="left")
        axes.set_xlabel("epoch", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return Picture("Mean loss of each epoch", figure_address(figure))


def seen_bands(
    cube: Cube, grid: Grid, names: list[str], time: int
) -> Float32[np.ndarray, "band y x"] | None:
    """Return bands of one array in physical units, thinned out; None if the period has none."""
    if not {source.name for source in cube.bands()}.issuperset(names):
        return None
    ((key, indices),) = cube.wanted(names).items()
    stored = cube.store.thinned(f"{grid.zone}/{Place.of(key).array}", (time,), LARGEST_PX)
    values = physical(stored[indices], _sensor(cube, names[0]))
    return values if np.isfinite(values).any() else None


def _sensor(cube: Cube, name: str) -> Sensor:
    return next(
        sensor for sensor in cube.spec.sensors if sensor.name == name.split(":", maxsplit=1)[0]
    )


def _stretched(
    values: Float32[np.ndarray, "3 y x"], low: float, high: float
) -> UInt8[np.ndarray, "y x 3"]:
    scaled = np.clip((values - low) / max(high - low, 1e-6), 0, 1)
    image = np.where(np.isnan(scaled), 0, 255 * scaled).astype(np.uint8).transpose(1, 2, 0)
    image = np.ascontiguousarray(image)
    image[np.isnan(values).any(0)] = PAPER
    return image


def _address(image: UInt8[np.ndarray, "y x 3"]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", optimize=True)
    return _data(buffer.getvalue())


def figure_address(figure: Figure) -> str:
    """Return a figure as an address that holds its own bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    return _data(buffer.getvalue())


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
