"""The whole story on a simulated land: what `make demo` runs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

import pystac

from sscl_geo import plugins
from sscl_geo.demo.items import CRS, ground_transform
from sscl_geo.demo.landscape import make_landscape
from sscl_geo.demo.polygons import write_polygons
from sscl_geo.demo.scenes import write_catalog
from sscl_geo.demo.serve import served
from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import read_yaml
from sscl_geo.geo.area import Area
from sscl_geo.geo.bbox import BBox, checked_bbox
from sscl_geo.geo.legend import Legend
from sscl_geo.io.profile import source
from sscl_geo.learn.study import Study
from sscl_geo.plugins import shipped_file
from sscl_geo.runtime.gang import GANGS, Ranks
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.baseline import ForestRequest, make_baseline
from sscl_geo.stages.finetune import FinetuneRequest, finetune
from sscl_geo.stages.ingest import IngestRequest, ingest
from sscl_geo.stages.labels import LabelsRequest, make_labels
from sscl_geo.stages.map import make_map
from sscl_geo.stages.pretrain import PretrainRequest, pretrain
from sscl_geo.stages.report import ReportRequest, make_report

LABELLED_COLUMNS = 0.6
"""Share of the land, from the west, in which polygons are digitised; the rest is for the test."""

LABELLED_FRACTION = 0.0195
"""Most pixels, as a share of the whole land, that the polygons cover."""

TILE_PX = 512
YEAR = 2024
ORIGIN = (
    "The land is simulated, so its truth is known everywhere: classes, spectra and backscatter "
    "were set from real Sentinel-1 and -2 samples, with overlapping classes, mixed borders, "
    "speckle, clouds and both offset conventions. The scenes were served by a STAC API and read "
    "over HTTP, the same road as that of a public catalogue."
)
SPLIT = (
    "Polygons were digitised in the western 60 % only. Every score is of the eastern 40 %, which "
    "no label touched."
)


class _World(NamedTuple):
    """Where everything lies, and the land's boxes in degrees: all, and the unlabelled east."""

    out: Path
    catalog: Path
    polygons: Path
    truth: Path
    bbox: BBox
    east: BBox


def run_demo(out: Path, *, size_px: int, seed: int, ranks: Ranks) -> Path:
    """Simulate a land and map it; return the report's path.

    Args:
        out: Folder of everything that is made; it must not exist yet.
        size_px: Side of the land at 10 m, a multiple of 12.
        seed: Seed of the land, the training and the forest.
        ranks: Where to train.

    Raises:
        InvalidInputError: `out` exists, or the size does not fit.
    """
    if out.exists():
        raise InvalidInputError(f"--out {out} exists; delete it, or choose another folder")
    started = time.monotonic()
    with _told("simulate scenes"):
        world = _simulate(out, size_px, seed)
    with _told("ingest over HTTP"), served(world.catalog) as urls:
        ingest(_ingest_request(world, urls.api), out / "cube.zarr", Machines(executor="dask"))
    with _told("labels and random forest"):
        _label(world)
        request = ForestRequest(seed=seed)
        make_baseline(
            out / "cube.zarr", out / "labels.zarr", out / "forest.zarr", request,
            Machines(executor="dask"),
        )  # fmt: skip
    _learn(out, seed, ranks)
    with _told("map"):
        for name in ("sscl", "random"):
            model = out / f"model-{name}"
            make_map(out / "cube.zarr", model, out / f"map-{name}.zarr", Machines(executor="dask"))
    return make_report(_report_request(out, time.monotonic() - started), out)


def _simulate(out: Path, size_px: int, seed: int) -> _World:
    classes = make_landscape(seed, size_px).classes
    out.mkdir(parents=True)
    catalog = write_catalog(out / "catalog", seed=seed, size_px=size_px, year=YEAR)
    columns = int(size_px * LABELLED_COLUMNS)
    polygons, transform = out / "polygons.gpkg", ground_transform(10)
    write_polygons(
        classes,
        polygons,
        crs=CRS,
        transform=transform,
        max_fraction=LABELLED_FRACTION,
        seed=seed,
        columns=slice(0, columns),
    )
    item = next(pystac.Catalog.from_file(str(catalog)).get_items(f"truth_{YEAR}", recursive=True))
    west, south, east, north = cast("list[float]", item.bbox)
    middle = west + (east - west) * columns / size_px
    truth = Path(item.assets["data"].get_absolute_href() or "")
    box = checked_bbox(west, south, east, north)
    return _World(out, catalog, polygons, truth, box, box._replace(west=middle))


def _ingest_request(world: _World, api: str) -> IngestRequest:
    return IngestRequest(
        source=source(api),
        area=Area(bbox=world.bbox),
        datetime=f"{YEAR}-04-01/{YEAR}-09-30",
        period="P3M",
        tile_px=TILE_PX,
    )


def _label(world: _World) -> None:
    legend = read_yaml(Legend, shipped_file("catalogs/legends", "dfc2020", "legend"))
    request = LabelsRequest(cube=world.out / "cube.zarr", source=world.polygons, legend=legend)
    make_labels(request, world.out / "labels.zarr")
    truth = request.replace(source=world.truth, bbox=world.east)
    make_labels(truth, world.out / "reference.zarr")


def _learn(out: Path, seed: int, ranks: Ranks) -> None:
    study = read_yaml(Study, shipped_file("workflows/studies", "demo", "study")).replace(seed=seed)
    cube = out / "cube.zarr"
    request = FinetuneRequest(
        imagery=(cube,), labels=(out / "labels.zarr",), encoder=out / "encoder", study=study
    )
    with plugins.find(GANGS, ranks.gang).session(ranks):
        with _told("pretrain: UniFeat, then CoRe"):
            pretrain(PretrainRequest(imagery=(cube,), study=study), out / "encoder", ranks)
        with _told("finetune the pretrained encoder"):
            finetune(request, out / "model-sscl", ranks)
        with _told("finetune from random weights"):
            finetune(request.replace(encoder=None), out / "model-random", ranks)


def _report_request(out: Path, seconds: float) -> ReportRequest:
    return ReportRequest(
        title="Land cover of a simulated land",
        cube=out / "cube.zarr",
        maps=(
            ("SSCL", out / "map-sscl.zarr"),
            ("the same net from random weights", out / "map-random.zarr"),
            ("random forest on pixels", out / "forest.zarr"),
        ),
        reference=out / "reference.zarr",
        labels=out / "labels.zarr",
        model=out / "model-sscl",
        notes=(ORIGIN, SPLIT),
        seconds=round(seconds, 1),
    )


@contextmanager
def _told(step: str) -> Iterator[None]:
    """Say a step's name when it starts and its time when it ends."""
    started = time.monotonic()
    print(f"{step} ...", end=" ", flush=True)  # noqa: T201 - this is the demo's terminal
    yield
    print(f"{time.monotonic() - started:.0f} s", flush=True)  # noqa: T201
