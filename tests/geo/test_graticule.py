"""Tiles of web maps lie where PROJ says, and bands of the Earth are as large as it is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod, Transformer

from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.graticule import (
    CIRCUMFERENCE,
    DEEPEST,
    TILE_PX,
    Graticule,
    WebTile,
    equator_gsd,
    zoom_of,
)
from sscl_geo.geo.surface import band_hectares

TO_MERCATOR = Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True)
EARTH_HECTARES = 51_006_562_172.4


@given(st.data())
def test_pixels_lie_where_proj_puts_them(data: st.DataObject) -> None:
    z = data.draw(st.integers(0, DEEPEST))
    x, y = (data.draw(st.integers(0, 2**z - 1)) for _ in "xy")
    row, column = (data.draw(st.integers(0, TILE_PX - 1)) for _ in "yx")
    places = WebTile(z, x, y).graticule
    east, north = TO_MERCATOR.transform(places.longitudes[column], places.latitudes[row])
    side = CIRCUMFERENCE / 2**z / TILE_PX
    assert east == pytest.approx((x * TILE_PX + column + 0.5) * side - CIRCUMFERENCE / 2, abs=1e-3)
    assert north == pytest.approx(CIRCUMFERENCE / 2 - (y * TILE_PX + row + 0.5) * side, abs=1e-3)


@given(st.integers(4, DEEPEST), st.data())
def test_a_pixel_is_as_wide_on_the_ground_as_it_says(z: int, data: st.DataObject) -> None:
    tile = WebTile(z, *(data.draw(st.integers(0, 2**z - 1)) for _ in "xy"))
    places = tile.graticule
    middle = places.latitudes[TILE_PX // 2]
    _, _, metres = Geod(ellps="WGS84").inv(
        places.longitudes[0], middle, places.longitudes[1], middle
    )
    # The sphere of EPSG:3857 and the ellipsoid differ by less than 0.4 %.
    assert tile.gsd == pytest.approx(metres, rel=0.02 if z < 8 else 5e-3)


@pytest.mark.parametrize(
    "tile", [(0, 0, 1), (3, 8, 0), (3, 0, -1), (DEEPEST + 1, 0, 0), (-1, 0, 0)]
)
def test_tiles_that_do_not_exist_say_so(tile: tuple[int, int, int]) -> None:
    assert not WebTile(*tile).is_real
    assert WebTile(3, 7, 7).is_real


@given(st.floats(0.1, 200_000))
def test_the_zoom_of_a_distance_is_the_smallest_that_is_fine_enough(gsd: float) -> None:
    zoom = zoom_of(gsd)
    assert equator_gsd(zoom) <= gsd
    assert zoom == 0 or equator_gsd(zoom - 1) > gsd


def test_a_box_over_the_antimeridian_holds_both_sides() -> None:
    places = Graticule(np.array([-180.0, -179.0, 0.0, 179.0]), np.array([-18.0, -17.0]))
    rows, columns = places.inside(BBox(178, -18, -179, -17))
    assert rows.tolist() == [True, False]
    assert columns.tolist() == [True, False, False, True]


def test_bands_make_up_the_earth() -> None:
    bands = band_hectares(np.linspace(-90, 90, 37), 360)
    assert bands.sum() == pytest.approx(EARTH_HECTARES, rel=1e-9)
    assert np.allclose(bands, bands[::-1])


@given(st.floats(-89, 88), st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_small_band_is_as_large_as_geodesics_say(south: float, up: float, across: float) -> None:
    found = band_hectares(np.array([south, south + up]), across)[0]
    along = np.linspace(0, across, 200)
    longitudes = np.concatenate([along, along[::-1]])
    latitudes = np.concatenate([np.full(200, south), np.full(200, south + up)])
    area, _ = Geod(ellps="WGS84").polygon_area_perimeter(longitudes, latitudes)
    assert found == pytest.approx(area / 10_000, rel=1e-4)
