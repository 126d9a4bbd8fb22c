"""The pictures of a report, as addresses that hold their own bytes."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from jaxtyping import Float32, UInt8
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image
from pydantic import JsonValue

from sscl_geo.geo.grid import Grid
from sscl_geo.geo.legend import Legend
from sscl_geo.geo.sensor import Sensor
from sscl_geo.io.cubes import Classes, Cube, whole
from sscl_geo.io.layout import FULL_CONFIDENCE, NO_CONFIDENCE
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


def true_colour_picture(cube: Cube, grid: Grid) -> Picture | None:
    """Return red, green and blue of the first period that has any; None without Sentinel-2."""
    names = [f"sentinel2_l2a:{band}" for band in ("B04", "B03", "B02")]
    stored = _first_seen(cube, grid, names)
    if stored is None:
        return None
    values, period = stored
    low, high = np.nanpercentile(values, STRETCH)
    return Picture(f"Sentinel-2 true colour, {period}", _address(_stretched(values, low, high)))


def radar_picture(cube: Cube, grid: Grid) -> Picture | None:
    """Return VV of the first period that has any; None without Sentinel-1."""
    names = [source.name for source in cube.bands() if source.band.name == "VV"][:1]
    stored = _first_seen(cube, grid, names) if names else None
    if stored is None:
        return None
    values, period = stored
    low, high = np.nanpercentile(values, STRETCH)
    grey = _stretched(np.repeat(values, 3, 0), low, high)
    return Picture(f"Sentinel-1 VV, {low:.0f} to {high:.0f} dB, {period}", _address(grey))


def classes_picture(classes: Classes, grid: Grid, legend: Legend, caption: str) -> Picture:
    """Return classes in the legend's colours."""
    table = np.full((256, 3), PAPER, np.uint8)
    for item in legend.classes:
        table[item.value] = item.rgb
    labels = _thinned(classes.read(grid.zone, whole(classes.grid(grid.zone))))
    return Picture(caption, _address(table[labels]))


def confidence_picture(mapped: Classes, grid: Grid) -> Picture:
    """Return the probability of the mapped class, dark where the model is unsure."""
    path = f"{grid.zone}/confidence"
    levels = _thinned(mapped.store.read(path, (), whole(mapped.grid(grid.zone))))
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
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    return Picture("Mean loss of each epoch", _data(buffer.getvalue()))


def _first_seen(
    cube: Cube, grid: Grid, names: list[str]
) -> tuple[Float32[np.ndarray, "band y x"], str] | None:
    known = {source.name for source in cube.bands()}
    if not names or not known.issuperset(names):
        return None
    places = cube.wanted(names)
    sensor = _sensor(cube, names[0])
    for time, period in enumerate(cube.spec.periods):
        stored = next(iter(cube.read(grid.zone, time, places, whole(grid)).values()))
        values = physical(_thinned(stored), sensor)
        if np.isfinite(values).any():
            return values, period.name
    return None


def _sensor(cube: Cube, name: str) -> Sensor:
    return next(
        sensor for sensor in cube.spec.sensors if sensor.name == name.split(":", maxsplit=1)[0]
    )


def _thinned(image: np.ndarray) -> np.ndarray:
    step = -(-max(image.shape[-2:]) // LARGEST_PX)
    return image[..., ::step, ::step]


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


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
