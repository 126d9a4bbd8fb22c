"""Real scenes, served and ingested once for all tests of this folder."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pystac
import pytest

from sscl_geo.geo.area import Area
from sscl_geo.geo.bbox import BBox
from sscl_geo.io.profile import source
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.ingest import IngestRequest, ingest


class Place(NamedTuple):
    """A real place: its name, box and day."""

    name: str
    bbox: BBox
    day: str


def places(realdata: Path) -> list[Place]:
    """Every single-date scene of the samples: five TerraMesh places and the BigEarthNet patches."""
    found = []
    for path in sorted((realdata / "stac" / "sentinel-2-l2a").glob("*/*.json")):
        item = json.loads(path.read_text())
        name = item["properties"]["place"]
        if not name.startswith("Flanders"):
            found.append(Place(name, BBox(*item["bbox"]), item["properties"]["datetime"][:10]))
    return found


@pytest.fixture(scope="session")
def real_cubes(
    realdata: Path, real_api: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Path]]:
    """A cube of every place, by its name; a year around the scene, since radar came days apart."""
    folder = tmp_path_factory.mktemp("real-cubes")
    cubes: dict[str, list[Path]] = {}
    for number, place in enumerate(places(realdata)):
        out = folder / f"{number:02d}.zarr"
        year = place.day[:4]
        request = IngestRequest(
            source=source(real_api, str(Path(__file__).with_name("samples.yaml"))),
            area=Area(bbox=place.bbox),
            datetime=f"{year}-01-01/{year}-12-31",
            period="P1Y",
            tile_px=256,
        )
        ingest(request, out, Machines())
        cubes.setdefault(place.name, []).append(out)
    return cubes


@pytest.fixture(scope="session")
def truth_of(realdata: Path) -> Any:
    """Return a function from a place's name to its land-cover raster."""
    catalog = pystac.Catalog.from_file(str(realdata / "stac" / "catalog.json"))

    def find(name: str) -> Path:
        for item in catalog.get_items(recursive=True):
            if item.collection_id == "land-cover" and item.properties["place"].startswith(name):
                return Path(item.assets["data"].get_absolute_href() or "")
        raise KeyError(name)

    return find
