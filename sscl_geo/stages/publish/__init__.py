"""From a map to a product that GIS and catalogues open: COGs, mosaics, styles and STAC."""

import hashlib
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
from pydantic import Field, JsonValue

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.area import Area
from sscl_geo.geo.bbox import BBox, hull
from sscl_geo.geo.boxes import Boxes
from sscl_geo.geo.grid import CHUNK_PX, Grid, Tile
from sscl_geo.geo.ground import block_bbox, tile_bbox
from sscl_geo.geo.legend import UNLABELLED
from sscl_geo.geo.zones import grids_of
from sscl_geo.io.bundle import Bundle, read_weights, write_bundle
from sscl_geo.io.cubes import Classes, made_by
from sscl_geo.io.disk import PENDING, write_whole
from sscl_geo.io.journal import journal
from sscl_geo.io.location import Location
from sscl_geo.io.making import begin
from sscl_geo.io.maps import CONFIDENCE, LANDCOVER
from sscl_geo.io.plan import Plan
from sscl_geo.io.publish.classes import legend_palette
from sscl_geo.io.publish.cog import write_cog
from sscl_geo.io.publish.mosaic import NODATA, own_layer, warped_layer
from sscl_geo.io.publish.stac import MODEL, Place, Published, Told, write_catalogue
from sscl_geo.io.publish.style import category_sidecar, legend_csv, legend_json, qgis_style
from sscl_geo.io.publish.vrt import Piece, virtual_mosaic
from sscl_geo.io.tables import SCENES, read_record, read_scenes
from sscl_geo.runtime.ledger import Ledger
from sscl_geo.runtime.stage import Summary, execute
from sscl_geo.runtime.work import Evidence, Machines, Outcome, Stage, TileUnit, tile_units

VERSION = 3
COGS = "cogs"
LAYERS = (LANDCOVER, CONFIDENCE)
FILE_PX = 8192
WORKING_COPIES = 8
"""Bytes that a unit holds for each pixel of its file."""


class PublishRequest(Frozen):
    """What to publish.

    Attributes:
        map: The map.
        model: Bundle of the map's model, which the product then holds too.
        crs: One CRS in metres for a single product of all zones; None keeps the map's own pixels.
        file_px: Most pixels along a side of a file.
        id: Identifier of the STAC collection.
        title: Its title.
        license: Its licence: an SPDX identifier, or `other`.
    """

    map: Location
    model: Path | None = None
    crs: str | None = None
    file_px: int = Field(default=FILE_PX, ge=CHUNK_PX, multiple_of=CHUNK_PX)
    id: str = Field(default="landcover", pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    title: str = "Land cover"
    license: str = Field(default="other", pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]*$")


class Source(NamedTuple):
    """An item that a map is made of: its address, and its box."""

    href: str
    bbox: BBox


class _Job(Frozen):
    request: PublishRequest
    grids: tuple[Grid, ...]
    out: Path

    def grid(self, zone: str) -> Grid:
        return next(grid for grid in self.grids if grid.zone == zone)


def publish(request: PublishRequest, out: Path, machines: Machines) -> Summary:
    """Write a map as a product into a folder; the same command resumes.

    The folder holds `cogs/`, a VRT of each layer and zone with its QGIS style beside it, the legend
    as CSV and JSON, and a static STAC catalogue with its items as GeoParquet.

    Raises:
        InvalidInputError: There is no finished map, it holds no class at all, its CRS does not fit,
            or something else stands at `out`.
        PlanConflictError: Another command began at `out`.
        HolesError: Files failed.
    """
    mapped = Classes.open(request.map, "map")
    bundle = None if request.model is None else made_by(request.model, mapped)
    grids = _grids(mapped, request)
    plan = Plan(
        kind="product",
        stage_version=VERSION,
        arguments={
            **request.model_dump(mode="json", exclude={"map", "model"}),
            "model": None if bundle is None else bundle.weights_sha256,
            "temperature": None if bundle is None else bundle.temperature,
            "map": mapped.store.plan.digest,
        },
    )
    begin(out, plan)
    absolute = request.replace(map=mapped.path.resolve())
    job = _Job(request=absolute, grids=grids, out=out.resolve())
    _mark_lost(job)
    side = max(min(request.file_px, max(grid.shape)) for grid in grids)
    stage = Stage(
        plan=partial(tile_units, grids),
        prepare=partial(_prepare, job),
        run=partial(publish_unit, job),
        publish=partial(_finish, job, mapped, bundle),
        memory=lambda: WORKING_COPIES * side**2,
    )
    return execute(stage, journal(out), machines, "publish")


def _mark_lost(job: _Job) -> None:
    """Mark units whose files have gone, or have another size, as holes."""
    ledger = Ledger(journal(job.out))
    for outcome in ledger.outcomes.values():
        if not all(_size(job.out / file.path) == file.size for file in _files(outcome)):
            cause = "its files have gone, or have another size"
            ledger.append(Outcome(key=outcome.key, status="failed", cause=cause))
    ledger.flush()


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _prepare(job: _Job) -> None:
    """Make the folder of files, without what a killed writer left there."""
    folder = job.out / COGS
    folder.mkdir(exist_ok=True)
    for path in folder.glob(f".*{PENDING}*"):
        path.unlink(missing_ok=True)


def _grids(mapped: Classes, request: PublishRequest) -> tuple[Grid, ...]:
    if request.crs is None:
        return tuple(grid.retiled(request.file_px) for grid in mapped.grids)
    if request.crs == "auto":
        raise InvalidInputError(
            "--crs auto: name one CRS in metres, such as EPSG:3035, or leave --crs out to keep the "
            "map's own zones"
        )
    boxes = [tile_bbox(grid, tile) for grid in mapped.grids for tile in grid.tiles]
    (grid,) = grids_of(Area(bbox=hull(boxes)), request.crs, request.file_px, "--crs")
    mapped_ground = Boxes(boxes)
    kept = tuple(
        (tile.row, tile.column)
        for tile in grid.tiles
        if mapped_ground.meeting(tile_bbox(grid, tile)).size
    )
    return (grid.replace(kept=kept),)


def file_name(tile: Tile) -> str:
    """Return how the names of a place's files begin: `epsg32633-003-012`."""
    return f"{tile.zone}-{tile.row:03}-{tile.column:03}"


def publish_unit(job: _Job, unit: TileUnit) -> Evidence:
    """Write the COGs of one place; a place without any class gets none."""
    mapped, grid = Classes.open(job.request.map, "map"), job.grid(unit.tile.zone)
    block = grid.block(unit.window)
    files: list[JsonValue] = []
    counts: dict[str, JsonValue] = {}
    for name in LAYERS:
        layer = (
            own_layer(mapped, unit.tile.zone, name, unit.window)
            if job.request.crs is None
            else warped_layer(mapped, name, block)
        )
        if name == LANDCOVER:
            values, pixels = np.unique(layer[layer != UNLABELLED], return_counts=True)
            counts = {str(v): int(n) for v, n in zip(values, pixels, strict=True)}
            if not counts:
                return {"empty": True, "files": [], "pixels": {}}
        path = f"{COGS}/{file_name(unit.tile)}-{name}.tif"
        write_cog(
            job.out / path,
            layer,
            crs=block.crs,
            transform=block.transform,
            nodata=NODATA[name],
            overviews="mode" if name == LANDCOVER else "average",
            palette=legend_palette(mapped.legend) if name == LANDCOVER else None,
        )
        if name == LANDCOVER:
            write_whole(job.out / f"{path}.aux.xml", category_sidecar(mapped.legend))
        content = (job.out / path).read_bytes()
        files.append(
            {
                "layer": name,
                "path": path,
                "size": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        )
    return {"empty": False, "files": files, "pixels": counts}


def _finish(job: _Job, mapped: Classes, bundle: Bundle | None, outcomes: Sequence[Outcome]) -> None:
    units = {unit.key: unit for unit in tile_units(job.grids)}
    scenes = _sources(mapped)
    index = Boxes([scene.bbox for scene in scenes])
    done = [outcome for outcome in outcomes if outcome.status == "done"]
    places = [_place(job, units[outcome.key], outcome, scenes, index) for outcome in done]
    if not places:
        raise InvalidInputError(
            f"{job.request.map} holds no class at all, so there is nothing to publish"
        )
    for grid in job.grids:
        mine = [units[outcome.key] for outcome in done]
        _write_mosaics(job, mapped, grid, [unit for unit in mine if unit.tile.zone == grid.zone])
    write_whole(job.out / "legend.csv", legend_csv(mapped.legend))
    write_whole(job.out / "legend.json", legend_json(mapped.legend))
    if bundle is not None and job.request.model is not None:
        write_bundle(job.out / MODEL, bundle, read_weights(job.request.model, bundle))
    write_catalogue(job.out, _told(job, mapped), places, _map_href(job), bundle)


def _write_mosaics(job: _Job, mapped: Classes, grid: Grid, units: Sequence[TileUnit]) -> None:
    for name in LAYERS:
        legend = mapped.legend if name == LANDCOVER else None
        pieces = [Piece(f"{COGS}/{file_name(unit.tile)}-{name}.tif", unit.window) for unit in units]
        vrt = virtual_mosaic(grid, pieces, NODATA[name], legend)
        write_whole(job.out / f"{grid.zone}-{name}.vrt", vrt)
    # QGIS takes the style beside a raster, by its name.
    write_whole(job.out / f"{grid.zone}-{LANDCOVER}.qml", qgis_style(mapped.legend))


def _place(
    job: _Job, unit: TileUnit, outcome: Outcome, scenes: Sequence[Source], index: Boxes
) -> Place:
    block = job.grid(unit.tile.zone).block(unit.window)
    counts: dict[str, int] = outcome.evidence["pixels"]  # type: ignore[assignment]
    pixels = {int(value): count for value, count in counts.items()}
    bbox = block_bbox(block)
    sources = tuple(scenes[number].href for number in index.meeting(bbox))
    return Place(file_name(unit.tile), block, bbox, _files(outcome), pixels, sources)


def _files(outcome: Outcome) -> tuple[Published, ...]:
    told = outcome.evidence.get("files", [])
    return tuple(Published(**fields) for fields in told)  # type: ignore[arg-type, union-attr]


def _sources(mapped: Classes) -> list[Source]:
    """Return the items of a map's scenes, by the paths that STAC APIs give them.

    A map that knows no scenes, or whose catalogue was a file, has none.
    """
    place = mapped.store.path / SCENES
    content = place.read_bytes() if place.exists() else None
    record = None if content is None else read_record(content)
    if content is None or record is None or not record.catalog.startswith("http"):
        return []
    root = record.catalog.rstrip("/")
    return [
        Source(f"{root}/collections/{quote(s.collection)}/items/{quote(s.id)}", s.bbox)
        for s in read_scenes(content)
    ]


def _told(job: _Job, mapped: Classes) -> Told:
    content = mapped.store.plan.content
    return Told.model_validate(
        {
            "id": job.request.id,
            "title": job.request.title,
            "license": job.request.license,
            "legend": mapped.legend,
            "interval": content["interval"],
            "sensors": content["sensors"],
            "model": content.get("model", {}),
            "maps": content.get("maps", ()),
        }
    )


def _map_href(job: _Job) -> str:
    path = job.request.map
    return os.path.relpath(path.key, job.out) if path.is_local else str(path)
