"""Label and auxiliary layers of real catalogues."""

import json
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pystac
import pytest
import shapely
from shapely.geometry import mapping

from sscl_geo.demo.serve import served
from sscl_geo.errors import CatalogError, InvalidInputError, SsclGeoError
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.period import parse_interval
from sscl_geo.io.layers import LayerItem, named_layer, search_layer, to_layer
from sscl_geo.io.profile import GEOTIFF, Layer, Source, source

CHILE = BBox(-74, -54, -66, -17)
ALWAYS = parse_interval("2020-01-01/2023-12-31")


def with_land_cover(catalogue: Source) -> Source:
    layer = Layer(
        collection="land-cover", asset="data", content="classes", license="see the source"
    )
    return catalogue.replace(profile=catalogue.profile.replace(layers={"land-cover": layer}))


def test_the_layer_of_a_place_is_found_on_disk_and_by_an_api(realdata: Path, real_api: str) -> None:
    on_disk = with_land_cover(source(str(realdata / "stac" / "catalog.json")))
    served = with_land_cover(source(real_api))
    by_disk = search_layer(on_disk, named_layer(on_disk, "land-cover"), CHILE, ALWAYS)
    by_web = search_layer(served, named_layer(served, "land-cover"), CHILE, ALWAYS)
    assert [item.id for item in by_disk] == ["LULC_433D_629L_3_1_2020"]
    assert [item.id for item in by_web] == ["LULC_433D_629L_3_1_2020"]
    assert Path(by_disk[0].href).is_file()
    assert by_web[0].href.endswith("LULC_433D_629L_3_1_2020/data.tif")


@pytest.mark.parametrize("moment", [None, datetime(2020, 1, 1, tzinfo=UTC)])
@pytest.mark.parametrize("is_served", [False, True])
def test_a_year_s_layer_is_found_from_within_the_year(
    tmp_path: Path, is_served: bool, moment: datetime | None
) -> None:
    start, end = datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 12, 31, tzinfo=UTC)
    shape = mapping(shapely.box(*CHILE))
    item = pystac.Item("year", shape, [*CHILE], moment, {}, start, end)
    item.add_asset("data", pystac.Asset(str(tmp_path / "a.tif"), media_type=GEOTIFF[0]))
    extent = pystac.Extent(pystac.SpatialExtent([[*CHILE]]), pystac.TemporalExtent([[start, end]]))
    collection = pystac.Collection("land-cover", "", extent)
    collection.add_item(item)
    catalog = pystac.Catalog("years", "")
    catalog.add_child(collection)
    catalog.normalize_and_save(str(tmp_path), pystac.CatalogType.SELF_CONTAINED)
    path = tmp_path / "catalog.json"
    with served(path) if is_served else nullcontext() as urls:
        found_in = with_land_cover(source(urls.api if urls else str(path)))
        layer = named_layer(found_in, "land-cover")
        for days, count in (("2020-07-01/2020-07-31", 1), ("2021-07-01/2021-07-31", 0)):
            assert len(search_layer(found_in, layer, CHILE, parse_interval(days))) == count


def test_a_year_s_layer_is_not_taken_for_the_year_before() -> None:
    def raster(year: int, *, ends_with_it: bool) -> LayerItem:
        end = datetime(year + 1, 1, 1, tzinfo=UTC) - timedelta(seconds=ends_with_it)
        start = datetime(year, 1, 1, tzinfo=UTC)
        return LayerItem(id="a", datetime=start, end=end, bbox=CHILE, href="a.tif")

    asked = parse_interval("2020-01-01/2020-12-31")
    for ends_with_it in (True, False):
        near = [raster(year, ends_with_it=ends_with_it) for year in (2019, 2020, 2021)]
        assert [item.meets(asked) for item in near] == [False, True, False]
    moment = near[1].replace(end=near[1].datetime)
    assert moment.meets(asked)
    assert not near[2].replace(end=near[2].datetime).meets(asked)


def test_recorded_elevation_is_read_from_the_web(realdata: Path) -> None:
    for profile, host in (
        ("planetary-computer", "elevationeuwest.blob.core.windows.net"),
        ("earth-search", "copernicus-dem-30m.s3.eu-central-1.amazonaws.com"),
    ):
        catalogue = source(profile)
        prefix = {"planetary-computer": "pc", "earth-search": "earthsearch"}[profile]
        path = realdata / "stac_items" / f"{prefix}__cop-dem-glo-30.json"
        for raw in json.loads(path.read_text())["features"]:
            found = to_layer(raw, catalogue.profile.layers["cop-dem"], catalogue)
            assert found.href.startswith(f"https://{host}/")
            assert found.href.endswith(".tif")
            evil = raw["assets"]["data"] | {"href": "s3://other-bucket/a.tif"}
            with pytest.raises(SsclGeoError):
                to_layer(
                    raw | {"assets": {"data": evil}}, catalogue.profile.layers["cop-dem"], catalogue
                )


def test_a_layer_that_a_catalogue_lacks_is_told() -> None:
    with pytest.raises(InvalidInputError, match=r"'worldcover': earth-search has cop-dem"):
        named_layer(source("earth-search"), "worldcover")


def test_the_time_of_a_raster_is_told_in_utc(realdata: Path) -> None:
    catalogue = source("planetary-computer")
    path = realdata / "stac_items" / "pc__cop-dem-glo-30.json"
    raw = json.loads(path.read_text())["features"][0]
    times = {"datetime": None, "start_datetime": "2021-01-01T01:00:00+02:00"}
    raw["properties"] |= {**times, "end_datetime": "2021-12-31T23:00:00-05:00"}
    found = to_layer(raw, catalogue.profile.layers["cop-dem"], catalogue)
    assert found.datetime.isoformat() == "2020-12-31T23:00:00+00:00"
    assert found.end.isoformat() == "2022-01-01T04:00:00+00:00"


def test_an_item_of_another_collection_is_no_layer() -> None:
    catalogue = source("earth-search")
    raw = {"id": "a", "collection": "b", "properties": {}, "assets": {}}
    with pytest.raises(CatalogError, match="'b' is not 'cop-dem-glo-30'"):
        to_layer(raw, catalogue.profile.layers["cop-dem"], catalogue)
