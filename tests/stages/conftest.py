"""A small world for all stage tests: simulated scenes, served, ingested, labelled, learned."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pystac
import pytest

from sscl_geo.demo.scenes import write_catalog
from sscl_geo.demo.serve import served
from sscl_geo.frozen import read_yaml
from sscl_geo.geo.area import Area
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.legend import Legend
from sscl_geo.io.location import AnyLocation, Location, location
from sscl_geo.io.profile import source
from sscl_geo.io.tables import SCENES, read_scenes, scenes_table
from sscl_geo.learn.study import Study
from sscl_geo.plugins import shipped
from sscl_geo.runtime.gang import Ranks
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.finetune import FinetuneRequest, finetune
from sscl_geo.stages.ingest import IngestRequest, ingest
from sscl_geo.stages.labels import LabelsRequest, make_labels
from sscl_geo.stages.pretrain import PretrainRequest, pretrain

SIZE_PX = 300


class World(NamedTuple):
    """A served land: its API, its catalogue, its box, its truth."""

    api: str
    catalog: Path
    bbox: BBox
    truth: Path

    def request(self, **changes: object) -> IngestRequest:
        fields = {
            "source": source(self.api),
            "area": Area(bbox=self.bbox),
            "datetime": "2024-04-01/2024-09-30",
            "period": "P3M",
            "tile_px": 256,
        }
        return IngestRequest.model_validate({**fields, **changes})


class Learned(NamedTuple):
    """What was made of the world."""

    cube: Path
    labels: Path
    encoder: Path
    model: Path


@pytest.fixture(scope="session")
def tiny_study() -> Study:
    return read_yaml(Study, Path(__file__).with_name("tiny.yaml"))


@pytest.fixture(scope="session")
def dfc2020() -> Legend:
    return read_yaml(Legend, shipped("catalogs") / "legends" / "dfc2020.yaml")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    catalog = write_catalog(folder / "catalog", seed=5, size_px=SIZE_PX, dates=6)
    item = next(pystac.Catalog.from_file(str(catalog)).get_items("truth_2024", recursive=True))
    truth = Path(item.assets["data"].get_absolute_href() or "")
    assert item.bbox is not None
    with served(catalog) as urls:
        yield World(urls.api, catalog, BBox(*item.bbox), truth)


@pytest.fixture(scope="session")
def learned(
    world: World, dfc2020: Legend, tiny_study: Study, tmp_path_factory: pytest.TempPathFactory
) -> Learned:
    folder = tmp_path_factory.mktemp("learned")
    made = Learned(*(folder / name for name in ("cube.zarr", "labels.zarr", "encoder", "model")))
    ingest(world.request(), made.cube, Machines())
    make_labels(LabelsRequest(cube=made.cube, source=world.truth, legend=dfc2020), made.labels)
    pretrain(PretrainRequest(imagery=(made.cube,), study=tiny_study), made.encoder, Ranks())
    request = FinetuneRequest(
        imagery=(made.cube,), labels=(made.labels,), encoder=made.encoder, study=tiny_study
    )
    finetune(request, made.model, Ranks())
    return made


def content(store: AnyLocation) -> dict[str, bytes]:
    """Return every file of a store but the ledger, whose lines come in the order of finishing."""
    names = (name for name in location(store).names() if not name.startswith("ledger"))
    return {name: bare(location(store) / name) for name in names}


def bare(place: Location) -> bytes:
    """Return a file's bytes; of the scenes without the record of when they were asked for."""
    content = place.read_bytes()
    return scenes_table(read_scenes(content)) if place.name == SCENES else content


@pytest.fixture(scope="session", name="content")
def _content() -> object:
    return content
