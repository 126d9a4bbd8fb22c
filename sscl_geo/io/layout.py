"""How stores look: CF metadata and Zarr arrays of cubes, chips and labels."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, NamedTuple

import numpy as np
from pyproj import CRS

from sscl_geo.geo.chips import ChipsSpec
from sscl_geo.geo.cube import CubeSpec
from sscl_geo.geo.grid import CHUNK_PX, Grid, Window
from sscl_geo.geo.legend import Legend
from sscl_geo.geo.period import Period
from sscl_geo.geo.sensor import GROUP_GSD, Sensor
from sscl_geo.ops.masks import FLAGS

CONVENTIONS = "CF-1.11"
NO_CONFIDENCE = 255
FULL_CONFIDENCE = 200
"""A probability is stored x 200 in a byte; 255 is nodata."""

Attributes = Mapping[str, Any]
"""Whatever JSON can say."""


class ArrayLayout(NamedTuple):
    """One Zarr array: its path in the store, shape, storage and attributes.

    Attributes:
        shards: Shape of a shard, or None for one object per chunk.
        values: Content written at creation, for coordinates.
    """

    path: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    fill: int | float | str
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    attributes: Attributes
    values: np.ndarray | None = None


class Layout(NamedTuple):
    """All groups (path to attributes) and arrays of a store."""

    groups: Mapping[str, Attributes]
    arrays: tuple[ArrayLayout, ...]


def cube_layout(spec: CubeSpec, attributes: Attributes) -> Layout:
    """Return the layout of a cube: one group per zone, below it `r10m` and `r20m`."""
    groups: dict[str, Attributes] = {"": {"Conventions": CONVENTIONS, **attributes}}
    arrays: list[ArrayLayout] = []
    for grid in spec.grids:
        groups[grid.zone] = {"proj:code": grid.crs}
        for group, gsd in GROUP_GSD.items():
            path = f"{grid.zone}/{group}"
            groups[path] = georeference(grid, gsd)
            arrays += coordinates(path, grid, gsd)
            arrays += _time(path, spec.periods)
            arrays += _sensor_arrays(path, group, grid, spec)
    return Layout(groups, tuple(arrays))


def chips_layout(spec: ChipsSpec, shard: int) -> Layout:
    """Return the layout of chips: an array of each sensor, and of labels where there is a legend.

    Args:
        spec: The chips' schema.
        shard: Number of chips in a shard.
    """
    arrays: list[ArrayLayout] = []
    for sensor in spec.sensors:
        names = np.array([band.name for band in sensor.bands], dtype=object)
        axis = f"band_{sensor.array}"
        arrays.append(_coordinate(axis, names, "str", {"long_name": "band"}))
        pixels = _chip_array(spec, shard, sensor.array, (len(names),), sensor.dtype)
        arrays.append(
            pixels._replace(
                dims=("sample", axis, "y", "x"), fill=sensor.nodata, attributes=_decoding(sensor)
            )
        )
    if spec.legend is not None:
        labels = _chip_array(spec, shard, "labels", (), "uint8")
        arrays.append(labels._replace(attributes=flags(spec.legend)))
    return Layout({"": {"Conventions": CONVENTIONS, "title": "Chips"}}, tuple(arrays))


def _chip_array(
    spec: ChipsSpec, shard: int, path: str, bands: tuple[int, ...], dtype: str
) -> ArrayLayout:
    one = (*bands, spec.side, spec.side)
    return ArrayLayout(
        path=path,
        dims=("sample", "y", "x"),
        shape=(spec.count, *one),
        dtype=dtype,
        fill=0,
        chunks=(1, *one),
        shards=(min(shard, spec.count), *one),
        attributes={},
    )


def labels_layout(grids: tuple[Grid, ...], legend: Legend, attributes: Attributes) -> Layout:
    """Return the layout of a labels store: `labels` uint8 at 10 m in one group per zone."""
    groups: dict[str, Attributes] = {"": {"Conventions": CONVENTIONS, **attributes}}
    arrays: list[ArrayLayout] = []
    for grid in grids:
        groups[grid.zone] = georeference(grid, 10)
        arrays += coordinates(grid.zone, grid, 10)
        arrays.append(raster(f"{grid.zone}/labels", grid, 10, grid.tile_px, flags(legend)))
    return Layout(groups, tuple(arrays))


def raster(
    path: str, grid: Grid, gsd: int, chunk: int, attributes: Attributes, fill: int = 0
) -> ArrayLayout:
    """Return an unsharded uint8 array on a grid's ground, in square chunks."""
    return ArrayLayout(
        path=path,
        dims=("y", "x"),
        shape=shape_of(grid, gsd),
        dtype="uint8",
        fill=fill,
        chunks=(chunk, chunk),
        shards=None,
        attributes={**attributes, **georeference(grid, gsd), "grid_mapping": "spatial_ref"},
    )


def flags(legend: Legend) -> Attributes:
    """Return the CF attributes of an array of classes."""
    # No _FillValue: it would make xarray open the classes as floats.
    return {
        "long_name": f"land cover, legend {legend.name}",
        "flag_values": [0, *legend.values],
        "flag_meanings": " ".join(["unlabelled", *(flag_meaning(name) for name in legend.names)]),
        "flag_colors": " ".join(["#000000", *(item.color for item in legend.classes)]),
    }


def flag_meaning(name: str) -> str:
    """Return a class's name as CF wants it in `flag_meanings`: one word."""
    return "_".join(name.lower().replace("/", " ").split())


def _sensor_arrays(path: str, group: str, grid: Grid, spec: CubeSpec) -> Iterator[ArrayLayout]:
    for sensor in spec.sensors:
        if group in sensor.groups:
            yield _band_axis(path, group, sensor)
            yield _pixels(path, group, grid, spec, sensor)
        if group == "r10m":
            name = f"number of valid observations of {sensor.name}"
            yield _per_pixel(f"{path}/n_valid_{sensor.array}", grid, spec, ("uint8", name))
        if group == "r20m" and sensor.kind == "optical" and spec.is_daily:
            yield _mask(path, grid, spec, sensor)
        if group == "r10m" and sensor.kind == "optical":
            name = f"day of year of {sensor.name}, 0 without an observation"
            yield _per_pixel(f"{path}/doy_{sensor.array}", grid, spec, ("uint16", name))


def _pixels(path: str, group: str, grid: Grid, spec: CubeSpec, sensor: Sensor) -> ArrayLayout:
    gsd, bands = GROUP_GSD[group], len(sensor.groups[group])
    shape = shape_of(grid, gsd)
    chunk, shard = CHUNK_PX * 10 // gsd, grid.tile_px * 10 // gsd
    return ArrayLayout(
        path=f"{path}/{sensor.array}",
        dims=("time", f"band_{sensor.array}", "y", "x"),
        shape=(len(spec.periods), bands, *shape),
        dtype=sensor.dtype,
        fill=sensor.nodata,
        chunks=(1, bands, chunk, chunk),
        shards=(1, bands, shard, shard),
        attributes={**_decoding(sensor), "grid_mapping": "spatial_ref"},
    )


def _decoding(sensor: Sensor) -> Attributes:
    return {
        "long_name": sensor.quantity.replace("_", " "),
        "units": sensor.units,
        "scale_factor": sensor.scale,
        "add_offset": sensor.offset,
        "_FillValue": sensor.nodata,
        "sensor": sensor.name,
    }


def _mask(path: str, grid: Grid, spec: CubeSpec, sensor: Sensor) -> ArrayLayout:
    half = CHUNK_PX // 2
    return ArrayLayout(
        path=f"{path}/mask_{sensor.array}",
        dims=("time", "y", "x"),
        shape=(len(spec.periods), *shape_of(grid, 20)),
        dtype="uint8",
        fill=FLAGS["nodata"],
        chunks=(1, half, half),
        shards=(1, grid.tile_px // 2, grid.tile_px // 2),
        attributes={
            "long_name": f"what hides the ground from {sensor.name}",
            "flag_masks": [*FLAGS.values()],
            "flag_meanings": " ".join(FLAGS),
            "grid_mapping": "spatial_ref",
        },
    )


def _per_pixel(path: str, grid: Grid, spec: CubeSpec, what: tuple[str, str]) -> ArrayLayout:
    dtype, long_name = what
    return ArrayLayout(
        path=path,
        dims=("time", "y", "x"),
        shape=(len(spec.periods), *grid.shape),
        dtype=dtype,
        fill=0,
        chunks=(1, CHUNK_PX, CHUNK_PX),
        shards=(1, grid.tile_px, grid.tile_px),
        attributes={"long_name": long_name, "units": "1", "grid_mapping": "spatial_ref"},
    )


def _band_axis(path: str, group: str, sensor: Sensor) -> ArrayLayout:
    names = np.array([band.name for band in sensor.groups[group]], dtype=object)
    return _coordinate(f"{path}/band_{sensor.array}", names, "str", {"long_name": "band"})


def coordinates(path: str, grid: Grid, gsd: int) -> Iterator[ArrayLayout]:
    """Yield the coordinates of a group whose pixels are `gsd` metres wide."""
    height, width = shape_of(grid, gsd)
    x = grid.origin[0] + gsd * (np.arange(width) + 0.5)
    y = grid.origin[1] - gsd * (np.arange(height) + 0.5)
    for axis, values in (("x", x), ("y", y)):
        name = f"projection_{axis}_coordinate"
        yield _coordinate(
            f"{path}/{axis}", values, "float64", {"units": "m", "standard_name": name}
        )
    block = grid.block(Window(0, 0, height, width), gsd)
    yield ArrayLayout(
        f"{path}/spatial_ref", (), (), "int32", 0, (), None,
        {
            **CRS.from_user_input(grid.crs).to_cf(),
            "GeoTransform": " ".join(f"{value:.10g}" for value in block.transform.to_gdal()),
        },
    )  # fmt: skip


def _time(path: str, periods: tuple[Period, ...]) -> Iterator[ArrayLayout]:
    starts, ends = (
        np.array([(day - date(1970, 1, 1)).days for day in days], np.int64)
        for days in ([p.start for p in periods], [p.end for p in periods])
    )
    yield _coordinate(
        f"{path}/time",
        starts,
        "int64",
        {
            "units": "days since 1970-01-01",
            "calendar": "proleptic_gregorian",
            "standard_name": "time",
            "bounds": "time_bounds",
        },
    )
    bounds = np.stack([starts, ends], axis=1)
    yield ArrayLayout(
        f"{path}/time_bounds", ("time", "bound"), bounds.shape, "int64", 0, bounds.shape, None,
        {"units": "days since 1970-01-01", "calendar": "proleptic_gregorian"}, bounds,
    )  # fmt: skip


def _coordinate(path: str, values: np.ndarray, dtype: str, attributes: Attributes) -> ArrayLayout:
    fill: int | str = "" if dtype == "str" else 0
    name = path.rsplit("/", 1)[-1]
    return ArrayLayout(
        path, (name,), values.shape, dtype, fill, values.shape, None, attributes, values
    )


def georeference(grid: Grid, gsd: int) -> Attributes:
    """Return the attributes of the `proj` and `spatial` conventions of Zarr."""
    height, width = shape_of(grid, gsd)
    block = grid.block(Window(0, 0, height, width), gsd)
    return {
        "proj:code": grid.crs,
        "spatial:dimensions": ["y", "x"],
        "spatial:transform": list(block.transform)[:6],
        "spatial:shape": [height, width],
        "spatial:bbox": list(block.bounds),
    }


def shape_of(grid: Grid, gsd: int) -> tuple[int, int]:
    """Return rows and columns of `gsd` metres, the last of them whole."""
    return -(-grid.shape[0] * 10 // gsd), -(-grid.shape[1] * 10 // gsd)
