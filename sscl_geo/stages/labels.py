"""From reference data to labels on a cube's pixels."""

from collections.abc import Iterator
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from sscl_geo.errors import InvalidInputError, NoSceneError
from sscl_geo.frozen import Frozen, digest
from sscl_geo.geo.area import Area
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.ground import inside_bbox
from sscl_geo.geo.legend import UNLABELLED, Legend
from sscl_geo.geo.period import parse_interval
from sscl_geo.io.cubes import Cube
from sscl_geo.io.disk import sha256_of
from sscl_geo.io.labels import LabelSource, LayerLabels, label_source, source_files
from sscl_geo.io.layers import LayerItem, named_layer, search_layer
from sscl_geo.io.layout import labels_layout
from sscl_geo.io.location import AnyLocation, Location
from sscl_geo.io.plan import Plan, read_plan
from sscl_geo.io.profile import Profile, Source
from sscl_geo.io.store import Store

VERSION = 1
EVER = "2000-01-01/2099-12-31"


class LayerSource(Frozen):
    """Labels of a catalogue.

    Attributes:
        layer: Name of a layer in the catalogue's profile, or of its collection.
        catalog: The catalogue; None is the one that the cube was made of.
        datetime: `A/B`, first and last day of the layer; None takes for each pixel the raster that
            is nearest in time to the middle of the cube.
    """

    layer: str
    catalog: Source | None = None
    datetime: str | None = None


class LabelsRequest(Frozen):
    """What becomes labels.

    Attributes:
        cube: The cube on whose pixels they lie.
        source: GeoTIFF of classes, polygons, or a layer of a catalogue.
        legend: Classes, and the source's values that mean them.
        column: Column of polygons' class numbers.
        bbox: Box in degrees outside which no label is taken; None takes all.
    """

    cube: Location
    source: Path | LayerSource
    legend: Legend
    column: str = "class"
    bbox: BBox | None = None


def make_labels(request: LabelsRequest, out: AnyLocation) -> float:
    """Write labels on a cube's pixels and return the labelled share of them.

    Nothing stands at `out` unless it is whole; the same request finds it made.

    Raises:
        InvalidInputError: The source cannot be read, has values that the legend lacks, or does not
            meet the cube.
        PlanConflictError: Another request made what stands at `out`.
    """
    cube = Cube.open(request.cube)
    source, identity = _source(request, cube)
    plan = _plan(request, cube, identity)
    existing = read_plan(out)
    if existing is not None:
        existing.check(plan, out)
        return _share(Store(out, existing), cube.spec.grids)
    layout = labels_layout(cube.spec.grids, request.legend, {"title": "Reference labels"})
    store = Store.create(out, plan, layout, {}, partial(_fill, request, cube.spec.grids, source))
    return _share(store, cube.spec.grids)


def _source(request: LabelsRequest, cube: Cube) -> tuple[LabelSource, str]:
    """Return the labels, and a digest of what they are."""
    if isinstance(request.source, LayerSource):
        items, profile = _layer(request.source, cube)
        return LayerLabels(items, profile), digest([i.model_dump(mode="json") for i in items])
    return label_source(request.source, request.column), sha256_of(*source_files(request.source))


def _layer(wanted: LayerSource, cube: Cube) -> tuple[list[LayerItem], Profile]:
    made_by = cube.store.plan.arguments
    catalog = wanted.catalog or Source.model_validate(made_by["source"])
    area = Area.model_validate(made_by["area"])
    interval = parse_interval(wanted.datetime or EVER)
    layer = named_layer(catalog, wanted.layer)
    if layer.content != "classes":
        raise InvalidInputError(
            f"--source stac:{wanted.layer}: holds measurements ({layer.units}), not classes"
        )
    items = search_layer(catalog, layer, area.bbox, interval)
    if not items:
        raise NoSceneError(
            f"--source stac:{wanted.layer}: no raster over the cube in {wanted.datetime or EVER}; "
            "name another --catalog, layer or --datetime"
        )
    first, last = cube.spec.periods[0].start, cube.spec.periods[-1].end
    middle = first + (last - first) / 2
    ranked = sorted(items, key=lambda item: (_days_off(item, middle), item.id))
    return ranked, catalog.profile


def _days_off(item: LayerItem, day: date) -> int:
    """Return how many days lie between a day and the time that a raster stands for."""
    return max((item.datetime.date() - day).days, (day - item.end.date()).days, 0)


def _plan(request: LabelsRequest, cube: Cube, identity: str) -> Plan:
    arguments = request.model_dump(mode="json", exclude={"cube", "source"})
    return Plan(
        kind="labels",
        stage_version=VERSION,
        arguments={
            **arguments,
            "cube": cube.store.plan.digest,
            "source_sha256": identity,
        },
        content={
            "grids": [grid.model_dump(mode="json") for grid in cube.spec.grids],
            "legend": request.legend.model_dump(mode="json"),
        },
    )


def _told(source: Path | LayerSource) -> str:
    return f"stac:{source.layer}" if isinstance(source, LayerSource) else str(source)


def _fill(
    request: LabelsRequest, grids: tuple[Grid, ...], source: LabelSource, store: Store
) -> None:
    labelled = 0
    for grid, window in _tiles(grids):
        block = grid.block(window)
        labels = request.legend.recode(source.on(block), _told(request.source))
        if request.bbox is not None:
            labels = np.where(inside_bbox(block, request.bbox), labels, np.uint8(UNLABELLED))
        labelled += int(np.count_nonzero(labels))
        store.write(f"{grid.zone}/labels", (), window, labels)
    if labelled == 0:
        raise InvalidInputError(
            f"{_told(request.source)} has no label on the pixels of {request.cube}; check that "
            "both cover the same place"
        )


def _tiles(grids: tuple[Grid, ...]) -> Iterator[tuple[Grid, Window]]:
    for grid in grids:
        for tile in grid.tiles:
            yield grid, grid.window(tile)


def _share(store: Store, grids: tuple[Grid, ...]) -> float:
    def labels(grid: Grid, window: Window) -> UInt8[np.ndarray, "y x"]:
        return store.read(f"{grid.zone}/labels", (), window)

    counts = [(np.count_nonzero(labels(g, w)), w.height * w.width) for g, w in _tiles(grids)]
    labelled, pixels = (sum(column) for column in zip(*counts, strict=True))
    return float(labelled / pixels)
