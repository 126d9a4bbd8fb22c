import pytest
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo import plugins
from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.area import Area
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.cube import CubeSpec, Place, band_sources
from sscl_geo.geo.period import parse_interval, split
from sscl_geo.geo.sensor import GROUP_GSD, Sensor
from sscl_geo.geo.zones import grids_of

SENSORS: tuple[Sensor, ...] = tuple(
    plugins.find("sscl_geo.sensors", name).SENSOR for name in plugins.names("sscl_geo.sensors")
)


def test_every_band_of_every_sensor_has_one_place() -> None:
    sources = band_sources(SENSORS)
    assert len({source.name for source in sources}) == len(sources)
    assert len({(source.place, source.index) for source in sources}) == len(sources)
    assert {source.name for source in sources} == {
        f"{sensor.name}:{band.name}" for sensor in SENSORS for band in sensor.bands
    }


@given(periods=st.integers(1, 5))
def test_a_sample_of_periods_has_every_band_once_in_each(periods: int) -> None:
    one, sources = band_sources(SENSORS), band_sources(SENSORS, periods)
    assert sources[: len(one)] == one
    assert len({source.name for source in sources}) == len(sources) == periods * len(one)
    assert all(Place.of(source.place.key) == source.place for source in sources)
    assert {source.place.later for source in sources} == {*range(periods)}


def test_a_place_is_that_of_the_band_on_its_array() -> None:
    for source in band_sources(SENSORS):
        sensor = next(sensor for sensor in SENSORS if sensor.name == source.sensor)
        group, array = source.place.array.split("/")
        assert array == sensor.array
        assert sensor.groups[group][source.index] == source.band
        assert source.place.gsd == GROUP_GSD[group]


def test_bands_are_stored_at_their_own_gsd_and_those_of_60_m_at_20() -> None:
    for source in band_sources(SENSORS):
        assert source.place.gsd == (10 if source.band.gsd == 10 else 20)


def test_a_sensor_knows_its_bands_by_name() -> None:
    sensor = SENSORS[-1]
    assert all(sensor.band(band.name) == band for band in sensor.bands)
    with pytest.raises(InvalidInputError, match="sentinel2_l2a has no band 'B10'; it has B02"):
        sensor.band("B10")


def test_a_cube_survives_json_and_finds_its_grids() -> None:
    spec = CubeSpec(
        grids=grids_of(Area(bbox=BBox(5.9, 45, 6.1, 45.1)), "auto", 256),
        periods=split(parse_interval("2024-01-01/2024-12-31"), "P3M"),
        sensors=SENSORS,
    )
    assert CubeSpec.model_validate_json(spec.model_dump_json()) == spec
    assert [spec.grid(grid.zone) for grid in spec.grids] == list(spec.grids)
