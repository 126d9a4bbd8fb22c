"""From reference data to labels on a cube's pixels: one unit labels one tile."""

from collections.abc import Sequence
from datetime import date
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sscl_geo.errors import HolesError, InvalidInputError, NoSceneError
from sscl_geo.frozen import Frozen, parse, read_json, read_yaml
from sscl_geo.geo.area import Area
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.ground import inside_bbox
from sscl_geo.geo.legend import UNLABELLED, Legend
from sscl_geo.geo.period import parse_interval
from sscl_geo.io.cubes import Cube, GridsOf
from sscl_geo.io.disk import sha256_of
from sscl_geo.io.journal import journal
from sscl_geo.io.labels import LabelSource, LayerLabels, label_source, source_files
from sscl_geo.io.layers import LayerItem, named_layer, search_layer
from sscl_geo.io.layout import labels_layout
from sscl_geo.io.location import AnyLocation, Location, location
from sscl_geo.io.plan import SOURCES, Plan, read_plan, request_of
from sscl_geo.io.profile import Layer, Profile, Source
from sscl_geo.io.store import Store
from sscl_geo.io.tables import TILES, records_table
from sscl_geo.plugins import shipped_file
from sscl_geo.runtime.ledger import Ledger
from sscl_geo.runtime.stage import Summary, execute
from sscl_geo.runtime.work import Evidence, Machines, Outcome, Stage, TileUnit, tile_units

VERSION = 3
EVER = "2000-01-01/2099-12-31"
RASTERS = "rasters.json"
BYTES_PER_PIXEL = 64
"""Most bytes that a unit holds for a pixel: labels in two codings, and degrees."""


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

    def resolve(self) -> "LabelsRequest":
        """Return it in a form that other processes understand."""
        source = self.source.resolve() if isinstance(self.source, Path) else self.source
        return self.replace(cube=self.cube.resolve(), source=source)


class Rasters(Frozen):
    """What a search for a layer found, kept in the store.

    Attributes:
        items: The rasters, the preferred first.
        profile: Their catalogue's, which says who signs their addresses.
        license: Licence of the layer, if it is known.
    """

    items: tuple[LayerItem, ...]
    profile: Profile
    license: str = ""


class Job(Frozen):
    """What all units of a run share.

    Attributes:
        out: Where the labels are, for any process.
        identity: Digest of the source's content.
        file: Absolute path of the source; None for the rasters that the store lists.
        column: Column of polygons' class numbers.
        told: What the user calls the source.
        bbox: Box in degrees outside which no label is taken.
    """

    out: Location
    identity: str
    file: Path | None
    column: str
    told: str
    bbox: BBox | None


class Labelled(NamedTuple):
    """What became of the units, and the labelled share of all pixels."""

    summary: Summary
    share: float


def make_labels(
    request: LabelsRequest,
    out: AnyLocation,
    machines: Machines = Machines(),  # noqa: B008 - a frozen value
) -> Labelled:
    """Write labels on a cube's pixels, or finish labels that were begun.

    Nothing new stays at `out` if no tile has a label.

    Raises:
        InvalidInputError: The source cannot be read, or does not meet the cube.
        PlanConflictError: Another request made what stands at `out`.
        HolesError: Tiles failed, such as where the source has values that the legend lacks.
    """
    cube, inputs = Cube.open(request.cube), request.resolve()
    _check_sources(request.legend)
    attributes = {"title": "Reference labels"}
    is_new = read_plan(out) is None
    if isinstance(inputs.source, LayerSource):
        rasters = _rasters(inputs.source, cube, out)
        file, identity, asked = None, rasters.digest, inputs.source.digest
        tables = {RASTERS: rasters.model_dump_json().encode()}
        attributes["license"] = rasters.license
    else:
        file, tables = inputs.source, {}
        label_source(file, request.column)
        asked = identity = sha256_of(*source_files(file))
    layout = labels_layout(cube.spec.grids, request.legend, attributes)
    store = Store.begun(out, _plan(request, cube, asked, identity), layout, tables)
    store.put(SOURCES, inputs.model_dump_json(include={"cube", "source"}).encode())
    job = Job(
        out=store.path.resolve(),
        identity=identity,
        file=file,
        column=request.column,
        told=_told(request.source),
        bbox=request.bbox,
    )
    stage = Stage(
        plan=partial(tile_units, cube.spec.grids),
        prepare=store.sweep,
        run=partial(label_unit, job),
        publish=partial(_publish, store, job, cube),
        memory=partial(_unit_bytes, cube),
    )
    try:
        summary = execute(stage, journal(out), machines, "labels")
    except (HolesError, InvalidInputError) as error:
        states = {outcome.status for outcome in Ledger(journal(out)).outcomes.values()}
        if is_new and "done" not in states:
            store.path.delete()
        elif isinstance(error, HolesError):
            told = "with a source or legend mended, choose another --out, as the labels will differ"
            raise HolesError(f"{error}\n  {told}") from None
        raise
    return Labelled(summary, _share(Ledger(journal(out))))


def legend_of(wanted: LayerSource, cube: AnyLocation) -> Legend:
    """Return the legend of a catalogue's layer, as its profile names it.

    Raises:
        InvalidInputError: There is no such layer of classes, or the profile names no legend.
    """
    _, layer = _layer(wanted, Cube.open(cube))
    if layer.legend is None:
        raise InvalidInputError(
            f"--source stac:{wanted.layer}: its catalogue's profile does not say what its classes "
            "are; give a --legend"
        )
    return read_yaml(Legend, shipped_file("catalogs/legends", layer.legend, "--legend"))


def _check_sources(legend: Legend) -> None:
    named = [item.name for item in legend.classes if 0 in (item.sources or (item.value,))]
    if named:
        raise InvalidInputError(
            f"--legend: {named[0]} has the source value 0, which here means no label; give that "
            "class another number in the source"
        )


def resume(out: AnyLocation, machines: Machines) -> Summary:
    """Finish labels from what they know of themselves.

    Raises:
        InvalidInputError: They do not say what they are made of, or it has gone.
        PlanConflictError: It has changed.
        HolesError: Tiles failed.
    """
    return make_labels(request_of(out, LabelsRequest), out, machines).summary


def label_unit(job: Job, unit: TileUnit) -> Evidence:
    """Label one tile."""
    store = Store.open(job.out, "labels")
    (grid,) = (g for g in store.kept("grids", GridsOf.validate_python) if g.zone == unit.tile.zone)
    legend = store.kept("legend", Legend.model_validate)
    block = grid.block(unit.window)
    found = _opened(job).on(block)
    if job.bbox is not None:
        found = np.where(inside_bbox(block, job.bbox), found, found.dtype.type(UNLABELLED))
    labels = legend.recode(found, job.told)
    labelled = int(np.count_nonzero(labels))
    return {
        "empty": labelled == 0,
        "labelled": labelled,
        "pixels": labels.size,
        "checksums": {"labels": store.write(f"{grid.zone}/labels", (), unit.window, labels)},
    }


@lru_cache(maxsize=1)
def _opened(job: Job) -> LabelSource:
    """Open a source once per process."""
    if job.file is not None:
        return label_source(job.file, job.column)
    rasters = _kept(job.out)
    return LayerLabels(rasters.items, rasters.profile)


def _rasters(wanted: LayerSource, cube: Cube, out: AnyLocation) -> Rasters:
    """Return the rasters of a layer: those of labels that were begun, or what a search finds."""
    begun = read_plan(out) is not None and (location(out) / RASTERS).exists()
    return _kept(location(out)) if begun else _found(wanted, cube)


def _kept(out: Location) -> Rasters:
    return parse(Rasters, read_json((out / RASTERS).read_bytes()), str(out / RASTERS))


def _publish(store: Store, job: Job, cube: Cube, outcomes: Sequence[Outcome]) -> None:
    if all(outcome.status == "empty" for outcome in outcomes):
        raise InvalidInputError(
            f"{job.told} has no label on the pixels of {cube.path}; check that both cover the same "
            "place"
        )
    store.put(TILES, records_table([outcome.record for outcome in outcomes]))


def _share(ledger: Ledger) -> float:
    told = [outcome.evidence for outcome in ledger.outcomes.values()]
    return sum(int(str(t["labelled"])) for t in told) / sum(int(str(t["pixels"])) for t in told)


def _unit_bytes(cube: Cube) -> int:
    return BYTES_PER_PIXEL * cube.spec.grids[0].tile_px ** 2


def _found(wanted: LayerSource, cube: Cube) -> Rasters:
    area = Area.model_validate(cube.store.plan.arguments["area"])
    interval = parse_interval(wanted.datetime or EVER)
    catalog, layer = _layer(wanted, cube)
    items = search_layer(catalog, layer, area.bbox, interval)
    if not items:
        raise NoSceneError(
            f"--source stac:{wanted.layer}: no raster over the cube in {wanted.datetime or EVER}; "
            "name another --catalog, layer or --datetime"
        )
    first, last = cube.spec.periods[0].start, cube.spec.periods[-1].end
    middle = first + (last - first) / 2
    ranked = sorted(items, key=lambda item: (_days_off(item, middle), item.id))
    return Rasters(items=tuple(ranked), profile=catalog.profile, license=layer.license)


def _layer(wanted: LayerSource, cube: Cube) -> tuple[Source, Layer]:
    made_of = cube.store.plan.arguments["source"]
    catalog = wanted.catalog or parse(Source, made_of, f"{cube.path}: its catalogue")
    layer = named_layer(catalog, wanted.layer)
    if layer.content != "classes":
        raise InvalidInputError(
            f"--source stac:{wanted.layer}: holds measurements ({layer.units}), not classes"
        )
    return catalog, layer


def _days_off(item: LayerItem, day: date) -> int:
    """Return how many days lie between a day and the time that a raster stands for."""
    return max((item.datetime.date() - day).days, (day - item.end.date()).days, 0)


def _plan(request: LabelsRequest, cube: Cube, asked: str, identity: str) -> Plan:
    arguments = request.model_dump(mode="json", exclude={"cube", "source"})
    return Plan(
        kind="labels",
        stage_version=VERSION,
        arguments={
            **arguments,
            "cube": cube.store.plan.digest,
            "source": asked,
        },
        content={
            "grids": [grid.model_dump(mode="json") for grid in cube.spec.grids],
            "legend": request.legend.model_dump(mode="json"),
            "source": identity,
        },
    )


def _told(source: Path | LayerSource) -> str:
    return f"stac:{source.layer}" if isinstance(source, LayerSource) else str(source)
