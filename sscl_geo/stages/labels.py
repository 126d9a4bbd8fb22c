"""From reference data to labels on a cube's pixels."""

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.ground import inside_bbox
from sscl_geo.geo.legend import UNLABELLED, Legend
from sscl_geo.io.cubes import Cube
from sscl_geo.io.labels import LabelSource, label_source, source_files
from sscl_geo.io.layout import labels_layout
from sscl_geo.io.location import AnyLocation, Location
from sscl_geo.io.plan import Plan, read_plan
from sscl_geo.io.store import Store

VERSION = 1


class LabelsRequest(Frozen):
    """What becomes labels.

    Attributes:
        cube: The cube on whose pixels they lie.
        source: GeoTIFF of classes, or polygons.
        legend: Classes, and the source's values that mean them.
        column: Column of polygons' class numbers.
        bbox: Box in degrees outside which no label is taken; None takes all.
    """

    cube: Location
    source: Path
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
    source = label_source(request.source, request.column)
    plan = _plan(request, cube)
    existing = read_plan(out)
    if existing is not None:
        existing.check(plan, out)
        return _share(Store(out, existing), cube.spec.grids)
    layout = labels_layout(cube.spec.grids, request.legend, {"title": "Reference labels"})
    store = Store.create(out, plan, layout, {}, partial(_fill, request, cube.spec.grids, source))
    return _share(store, cube.spec.grids)


def _plan(request: LabelsRequest, cube: Cube) -> Plan:
    arguments = request.model_dump(mode="json", exclude={"cube", "source"})
    return Plan(
        kind="labels",
        stage_version=VERSION,
        arguments={
            **arguments,
            "cube": cube.store.plan.digest,
            "source_sha256": _sha256(source_files(request.source)),
        },
        content={
            "grids": [grid.model_dump(mode="json") for grid in cube.spec.grids],
            "legend": request.legend.model_dump(mode="json"),
        },
    )


def _sha256(paths: tuple[Path, ...]) -> str:
    content = hashlib.sha256()
    for path in paths:
        content.update(path.read_bytes())
    return content.hexdigest()


def _fill(
    request: LabelsRequest, grids: tuple[Grid, ...], source: LabelSource, store: Store
) -> None:
    labelled = 0
    for grid, window in _tiles(grids):
        block = grid.block(window)
        labels = request.legend.recode(source.on(block), str(request.source))
        if request.bbox is not None:
            labels = np.where(inside_bbox(block, request.bbox), labels, np.uint8(UNLABELLED))
        labelled += int(np.count_nonzero(labels))
        store.write(f"{grid.zone}/labels", (), window, labels)
    if labelled == 0:
        raise InvalidInputError(
            f"{request.source} has no label on the pixels of {request.cube}; check that "
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
