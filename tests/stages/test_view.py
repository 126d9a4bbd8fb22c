"""A page of a map: its tiles lie right, its server is this machine's only, and it can be used."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio.warp
import requests
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.area import Area
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.graticule import CIRCUMFERENCE, TILE_PX, WebTile
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.zones import grids_of
from sscl_geo.io.areas import class_hectares
from sscl_geo.io.cubes import Classes
from sscl_geo.io.location import location
from sscl_geo.io.maps import LANDCOVER, finish_levels
from sscl_geo.io.store import Store
from sscl_geo.io.tables import TILES
from sscl_geo.stages.view import view
from sscl_geo.stages.view.areas import EXACT_PX, hectares_in
from sscl_geo.stages.view.guard import HEADERS, HOST
from sscl_geo.stages.view.layers import SMALL_PX, THINNING, layers
from sscl_geo.stages.view.opening import ViewRequest, opened
from sscl_geo.stages.view.painting import classes_png, colour_png, levels_png, radar_png
from sscl_geo.stages.view.server import listening
from tests.drawn_maps import LEGEND, draw_map
from tests.shown_maps import GRID, blobs, draw_cube, draw_map_of, noise, page, request, rgba

COLORS = {0: (0, 0, 0, 0), **{item.value: (*item.rgb, 255) for item in LEGEND.classes}}
VALUES = np.array(LEGEND.values, np.uint8)
TO_DEGREES = "EPSG:4326"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("view")


@pytest.fixture(scope="module")
def two_zones(folder: Path) -> Path:
    """A map around 12 degrees east, where two zones overlap and each owns its side."""
    grids = grids_of(Area(bbox=BBox(11.95, 47.98, 12.05, 48.02)), "auto", 256)
    assert len(grids) == 2
    return draw_map(folder / "zones.zarr", grids, noise)


@pytest.fixture(scope="module")
def fiji(folder: Path) -> Path:
    """A map over the antimeridian, in the south."""
    grid = Grid(crs="EPSG:32760", origin=(813_000, 8_010_000), shape=(768, 768), tile_px=256)
    return draw_map(folder / "fiji.zarr", [grid], noise)


@pytest.fixture(scope="module")
def cube(folder: Path) -> Path:
    return draw_cube(folder / "cube.zarr")


@pytest.fixture(scope="module")
def mapped(folder: Path, cube: Path) -> Path:
    return draw_map_of(cube, folder / "first.zarr")


@pytest.fixture(scope="module")
def other(folder: Path) -> Path:
    return draw_map(folder / "second.zarr", [GRID], noise)


# --- tiles --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["two_zones", "fiji", "mapped"])
def test_every_pixel_of_a_map_is_found_in_its_tile(
    name: str, getfixture: Callable[[str], Path]
) -> None:
    shown = opened(request(getfixture(name)))
    layer, store = layers(shown)["landcover-0"], shown.maps[0].store
    draws = np.random.default_rng(3)
    for _ in range(30):
        grid = layer.view.grids[draws.integers(len(layer.view.grids))]
        row, column = (int(draws.integers(0, side)) for side in grid.shape)
        value = store.read(f"{grid.zone}/r10m/landcover", (), Window(row, column, 1, 1))[0, 0]
        x, y = grid.origin[0] + 10 * column + 5, grid.origin[1] - 10 * row - 5
        place = Transformer.from_crs(grid.crs, TO_DEGREES, always_xy=True).transform(x, y)
        if grid.owns is not None and not grid.owns.west <= place[0] < grid.owns.east:
            continue
        tile, inside = tile_at(*place, zoom=17)
        assert tuple(rgba(layer.tile(tile))[inside]) == COLORS[value]


def tile_at(longitude: float, latitude: float, zoom: int) -> tuple[WebTile, tuple[int, int]]:
    """Return the tile that holds a place, and row and column there, by PROJ."""
    mercator = Transformer.from_crs(TO_DEGREES, "EPSG:3857", always_xy=True)
    x, y = mercator.transform(longitude, latitude)
    side = CIRCUMFERENCE / 2**zoom
    column, row = (x / side + 2 ** (zoom - 1), 2 ** (zoom - 1) - y / side)
    inside = int(row % 1 * TILE_PX), int(column % 1 * TILE_PX)
    return WebTile(zoom, int(column), int(row)), inside


@pytest.fixture
def getfixture(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    return request.getfixturevalue


@pytest.mark.parametrize("zoom", [12, 14, 16])
def test_a_tile_is_what_gdal_warps(mapped: Path, zoom: int) -> None:
    shown = opened(request(mapped))
    layer, grid = layers(shown)["landcover-0"], shown.maps[0].layers[LANDCOVER].grids[0]
    tile, _ = tile_at(15.04, 48.72, zoom)
    gsd = layer.view.level(grid.zone, tile.gsd)
    size = 7680 // gsd
    source = shown.maps[0].store.read(
        f"{grid.zone}/r{gsd}m/landcover", (), Window(0, 0, size, size)
    )
    side, half = CIRCUMFERENCE / 2**zoom, CIRCUMFERENCE / 2
    left, top, step = tile.x * side - half, half - tile.y * side, side / TILE_PX
    warped = np.zeros((TILE_PX, TILE_PX), np.uint8)
    rasterio.warp.reproject(
        source,
        warped,
        src_transform=Affine(gsd, 0, grid.origin[0], 0, -gsd, grid.origin[1]),
        src_crs=grid.crs,
        dst_transform=Affine(step, 0, left, 0, -step, top),
        dst_crs="EPSG:3857",
        tolerance=0,
    )
    assert (warped != 0).mean() > 0.2
    is_same = (rgba(layer.tile(tile)) == rgba(classes_png(warped, LEGEND))).all(2)
    assert is_same.mean() > 0.999


def test_zones_leave_no_gap_where_they_meet(two_zones: Path, folder: Path) -> None:
    grids = Classes.open(two_zones, "map").grids
    full = draw_map(folder / "full.zarr", grids, lambda _, w: np.full(w[2:], 10))
    tile, _ = tile_at(12.0, 48.0, 14)
    assert (rgba(layers(opened(request(full)))["landcover-0"].tile(tile))[..., 3] == 255).all()


def test_the_whole_world_shows_the_map_where_it_is(fiji: Path) -> None:
    layer = layers(opened(request(fiji)))["landcover-0"]
    west, _ = tile_at(179.98, -17.98, 10)
    east, _ = tile_at(-179.98, -17.98, 10)
    assert (west.x, east.x) == (1023, 0)
    for tile in (west, east):
        assert rgba(layer.tile(tile))[..., 3].any()
    assert not rgba(layer.tile(WebTile(10, 512, 300)))[..., 3].any()


class Counted(Store):
    """A store that knows how much was read at once."""

    most = 0

    def read(self, path: str, lead: tuple[int, ...], window: Window) -> np.ndarray:
        self.most = max(self.most, window.height * window.width)
        return super().read(path, lead, window)


@pytest.mark.parametrize("is_finished", [True, False])
def test_no_zoom_reads_much_of_a_large_map(tmp_path: Path, is_finished: bool) -> None:
    # Most of its tiles are not kept, and take no room.
    grid = Grid(
        crs="EPSG:32633", origin=(300_000, 5_400_000), shape=(39_936, 39_936), tile_px=1024,
        kept=((20, 20),),
    )  # fmt: skip
    path = draw_map(tmp_path / "large.zarr", [grid], blobs)
    if is_finished:
        finish_levels(Store.open(path, "map"), grid)
    else:
        (path / TILES).unlink()
    shown = opened(request(path))
    layer = layers(shown)["landcover-0"]
    store = Counted(path, shown.maps[0].store.plan)
    counted = layer._replace(view=layer.view._replace(store=store))
    place = Transformer.from_crs(grid.crs, TO_DEGREES, always_xy=True).transform(510_000, 5_190_000)
    for zoom in range(layer.least_zoom, 18):
        content = counted.tile(tile_at(*place, zoom)[0])
        assert zoom < 6 or rgba(content)[..., 3].any()
    assert 0 < store.most <= (1.5 * THINNING * TILE_PX) ** 2
    assert (layer.least_zoom == 0) == is_finished
    if is_finished:
        assert store.most <= (4 * TILE_PX) ** 2
    assert SMALL_PX < 39_936 // 8


# --- painting -----------------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.integers(0, 255))
def test_a_class_has_its_colour_and_anything_else_none(value: int) -> None:
    png = classes_png(np.full((4, 3), value, np.uint8), LEGEND)
    assert (rgba(png) == COLORS.get(value, (0, 0, 0, 0))).all() or value not in COLORS
    assert (rgba(png)[..., 3] == (255 if value in LEGEND.values else 0)).all()


def test_confidence_is_viridis_and_nodata_is_transparent() -> None:
    levels = np.array([[0, 200, 255, 201]], np.uint8)
    ends = rgba(levels_png(levels))[0]
    assert tuple(ends[0]) == (68, 1, 84, 255)
    assert tuple(ends[1]) == (253, 231, 37, 255)
    assert ends[2:, 3].tolist() == [0, 0]


def test_imagery_is_shaded_and_nan_is_transparent() -> None:
    reflectance = np.array([[[0.0, 0.3, np.nan]]] * 3, np.float32)
    assert rgba(colour_png(reflectance))[0].tolist() == [[0, 0, 0, 255], [255] * 4, [0] * 4]
    decibel = np.array([[[-25.0, 0.0, -12.5, np.nan]]], np.float32)
    assert rgba(radar_png(decibel))[0, :, 0].tolist() == [0, 255, 128, 0]


def test_the_cube_of_a_map_is_found_and_shown(mapped: Path) -> None:
    shown = opened(request(mapped))
    names = [(imagery.name, imagery.period[:10]) for imagery in shown.imagery]
    assert names == [
        ("Radar VV", "2024-04-01"), ("Radar VV", "2024-07-01"),
        ("True colour", "2024-04-01"), ("True colour", "2024-07-01"),
    ]  # fmt: skip
    tile, _ = tile_at(15.05, 48.72, 14)
    all_layers = layers(shown)
    colours = rgba(all_layers["imagery-2"].tile(tile))
    seen = colours[colours[..., 3] > 0].astype(int)
    assert len(seen) > 1000
    assert (seen[:, 0] == seen[:, 2]).all()
    assert set(np.unique(rgba(all_layers["imagery-0"].tile(tile))[..., 0])) <= {0, 128}
    assert not rgba(all_layers["imagery-3"].tile(tile)).any()


# --- areas --------------------------------------------------------------------------------------


def test_areas_of_a_small_map_are_those_of_all_its_pixels(two_zones: Path) -> None:
    whole = class_hectares(Classes.open(two_zones, "map"))
    view = opened(request(two_zones)).maps[0].layers[LANDCOVER]
    found = hectares_in(view, BBox(-180, -90, 180, 90))
    assert found.is_exact
    assert found.values[1:] == pytest.approx(whole[1:], rel=1e-9)
    halves = [hectares_in(view, box) for box in (BBox(11, 47, 12.01, 49), BBox(12.01, 47, 13, 49))]
    assert sum(half.values[1:] for half in halves) == pytest.approx(whole[1:], rel=1e-9)


def test_areas_over_the_antimeridian_are_counted_on_both_sides(fiji: Path) -> None:
    whole = class_hectares(Classes.open(fiji, "map"))
    view = opened(request(fiji)).maps[0].layers[LANDCOVER]
    found = hectares_in(view, BBox(179, -19, -179, -17))
    assert found.values[1:] == pytest.approx(whole[1:], rel=1e-9)


def test_areas_beside_the_antimeridian_are_of_the_box_alone(fiji: Path) -> None:
    view = opened(request(fiji)).maps[0].layers[LANDCOVER]
    whole = hectares_in(view, BBox(179, -19, -179, -17)).values
    parts = [BBox(179, -19, 179.99, -17), BBox(179.99, -19, 180, -17), BBox(-180, -19, -179, -17)]
    each = [hectares_in(view, box).values for box in parts]
    assert sum(each) == pytest.approx(whole, rel=1e-9)
    assert all(one.sum() < 0.9 * whole.sum() for one in each)


def test_a_view_over_the_antimeridian_samples_the_map_alone(tmp_path: Path) -> None:
    grid = Grid(crs="EPSG:32760", origin=(700_020, 8_010_000), shape=(1536, 1536), tile_px=512)
    path = draw_map(tmp_path / "west.zarr", [grid], blobs)
    whole = class_hectares(Classes.open(path, "map"))
    found = hectares_in(opened(request(path)).maps[0].layers[LANDCOVER], BBox(150, -30, -150, 0))
    assert found.values[list(VALUES)] == pytest.approx(whole[list(VALUES)], rel=0.01)


def test_areas_of_a_large_map_are_within_a_percent_and_said_to_be_about(tmp_path: Path) -> None:
    grid = Grid(crs="EPSG:32633", origin=(499_980, 5_400_060), shape=(1536, 1536), tile_px=512)
    path = draw_map(tmp_path / "large.zarr", [grid], blobs)
    assert grid.shape[0] * grid.shape[1] > EXACT_PX
    whole = class_hectares(Classes.open(path, "map"))
    found = hectares_in(opened(request(path)).maps[0].layers[LANDCOVER], BBox(10, 40, 20, 50))
    assert not found.is_exact
    assert found.values[list(VALUES)] == pytest.approx(whole[list(VALUES)], rel=0.01)


def test_areas_of_ground_that_would_take_long_to_read_are_refused(two_zones: Path) -> None:
    view = opened(request(two_zones)).maps[0].layers[LANDCOVER]
    grid = view.grids[0].replace(shape=(60_000, 60_000), kept=((0, 0),), owns=None)
    large = view._replace(grids=(grid,))
    with pytest.raises(InvalidInputError, match="zoom in"):
        hectares_in(large._replace(levels={grid.zone: (10, 20)}), BBox(-180, -90, 180, 90))


# --- what can be opened -------------------------------------------------------------------------


def test_a_map_that_is_being_made_is_shown_with_a_note(tmp_path: Path) -> None:
    path = draw_map(tmp_path / "half.zarr", [GRID], blobs)
    (path / TILES).unlink()
    shown = opened(request(path))
    assert "half is unfinished: 9 of its tiles are still to be mapped" in shown.notes
    assert not shown.is_final
    with page(shown) as url:
        tile, _ = tile_at(15.04, 48.72, 14)
        answer = requests.get(f"{url}/tiles/landcover-0/14/{tile.x}/{tile.y}.png", timeout=20)
    assert answer.headers["cache-control"] == "no-store"
    assert rgba(answer.content)[..., 3].any()


def test_what_is_no_map_or_lies_elsewhere_is_refused(
    mapped: Path, fiji: Path, cube: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match="is a cube; give the path of a map"):
        opened(request(cube))
    with pytest.raises(InvalidInputError, match="not found; give the path of a map"):
        opened(request(tmp_path / "nothing.zarr"))
    with pytest.raises(InvalidInputError, match=r"--map .*fiji.zarr .*no ground in common"):
        opened(request(mapped, other=fiji))
    with pytest.raises(InvalidInputError, match=r"--cube .*no ground in common"):
        opened(request(fiji, cube=cube))


def test_a_cube_that_has_gone_or_changed_is_no_reason_to_fail(
    mapped: Path, other: Path, cube: Path, tmp_path: Path
) -> None:
    shown = opened(request(other))
    assert shown.imagery == ()
    (told,) = shown.notes
    assert told.startswith("no imagery: ")
    assert "does not say what it was made of" in told
    assert told.endswith("; or name a cube with --cube")
    grid = Classes.open(other, "map").grids[0]
    path = draw_map(tmp_path / "later.zarr", [grid], blobs)
    (path / "sources.json").write_text(f'{{"cube": "{cube}"}}')
    assert "has changed since" in opened(request(path)).notes[0]
    (path / "sources.json").write_text('{"cube": "s3://strangers/cube.zarr"}')
    assert "s3://strangers/cube.zarr is in a bucket that is not" in opened(request(path)).notes[0]
    (path / "sources.json").write_text(f'{{"cube": "{tmp_path}/gone.zarr"}}')
    assert "gone.zarr: not found" in opened(request(path)).notes[0]
    assert len(opened(request(path, cube=cube)).imagery) == 4
    assert opened(request(mapped)).notes == ()


def test_maps_of_one_name_are_told_apart(mapped: Path, tmp_path: Path) -> None:
    (tmp_path / "later").mkdir()
    path = draw_map(tmp_path / "later" / mapped.name, [GRID], blobs)
    names = [shown.name for shown in opened(request(mapped, other=path)).maps]
    assert names[1] == "later/first"
    assert len({*names}) == 2


def test_a_map_in_a_bucket_is_shown_as_one_on_a_disk(s3: str, mapped: Path) -> None:
    copy = location(f"{s3}/view/first.zarr")
    for file in mapped.rglob("*"):
        if file.is_file():
            (copy / file.relative_to(mapped).as_posix()).put_whole(file.read_bytes())
    tile, _ = tile_at(15.04, 48.72, 14)
    shown = opened(ViewRequest(map=copy))
    tiles = [layers(each)["landcover-0"].tile(tile) for each in (shown, opened(request(mapped)))]
    assert tiles[0] == tiles[1]
    assert len(shown.imagery) == 4


def test_sentinel_is_credited_where_the_map_is_made_of_it(mapped: Path, tmp_path: Path) -> None:
    assert opened(request(mapped)).attribution == "Contains modified Copernicus Sentinel data 2024"
    told = opened(request(mapped).replace(attribution="Simulated")).attribution
    assert told == "Simulated"
    plan = (mapped / "plan.json").read_text().replace("sentinel2_l2a", "landsat")
    grid = Classes.open(mapped, "map").grids[0]
    path = draw_map(tmp_path / "landsat.zarr", [grid], blobs)
    (path / "plan.json").write_text(plan)
    assert opened(request(path)).attribution == ""


# --- the server ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(mapped: Path, other: Path) -> Iterator[str]:
    with page(opened(request(mapped, other=other))) as url:
        yield url


def test_the_page_and_all_that_it_needs_are_served(served: str) -> None:
    text = requests.get(served, timeout=20).text
    for name in re.findall(r'(?:href|src)="([^":]+)"', text):
        assert requests.get(f"{served}/{name}", timeout=20).status_code == 200, name
    assert "http" not in re.sub(r"<!.*?>", "", text)


def test_a_browser_may_keep_the_tiles_of_a_map_and_nothing_else(served: str, mapped: Path) -> None:
    facts = requests.get(f"{served}/facts.json", timeout=20)
    assert facts.headers["cache-control"] == "no-store"
    layer = facts.json()["maps"][0]["layers"]["landcover"]
    # Another map at the same port has other addresses.
    assert layer["version"] == Store.open(mapped, "map").plan.digest[:16]
    tile = requests.get(f"{served}/tiles/landcover-0/14/8876/5658.png", timeout=20)
    assert tile.headers["cache-control"] == "private, max-age=86400"


def test_every_answer_allows_only_this_server(served: str) -> None:
    for path in ("", "/facts.json", "/nothing", "/areas"):
        headers = requests.get(served + path, timeout=20).headers
        for name, value in HEADERS.items():
            assert headers[name] == value
        assert "access-control-allow-origin" not in headers
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"\*|unsafe|https?:", policy)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("tiles/landcover-0/14/8876/5658.png", 200),
        ("tiles/landcover-0/14/8876/99999999.png", 404),
        ("tiles/landcover-0/23/0/0.png", 404),
        (f"tiles/landcover-0/{'9' * 5000}/0/0.png", 400),
        ("tiles/landcover-0/-1/0/0.png", 400),
        ("tiles/landcover-0/1e1/0/0.png", 400),
        ("tiles/landcover-7/14/8876/5658.png", 404),
        ("tiles/probability/14/8876/5658.png", 404),
        ("tiles/..%2f..%2fplan.json/14/8876/5658.png", 404),
        ("../../../../etc/passwd", 404),
        ("maplibre/..%2f..%2f__init__.py", 404),
        ("%2e%2e/server.py", 404),
        ("server.py", 404),
        ("place?longitude=15&latitude=48.7", 200),
        ("place?longitude=15", 400),
        ("place?longitude=15&latitude=nan", 400),
        ("place?longitude=1e999&latitude=0", 400),
        ("place?longitude=200&latitude=0", 400),
        ("areas?west=15&south=48.7&east=15.1&north=48.8", 200),
        ("areas?west=-180&south=-90&east=180&north=90", 200),
        ("areas?west=15&south=48.8&east=15.1&north=48.7", 400),
        ("areas?west=x&south=48.7&east=15.1&north=48.8", 400),
        ("areas", 400),
    ],
)
def test_bad_requests_get_one_line(served: str, path: str, status: int) -> None:
    prepared = requests.Request("GET", served).prepare()
    prepared.url = f"{served}/{path}"
    answer = requests.Session().send(prepared, timeout=20)
    assert answer.status_code == status
    if status != 200:
        assert len(answer.text.splitlines()) == 1
        assert "Traceback" not in answer.text
        assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "localhost:1", "127.0.0.1.nip.io", ""]
)
def test_a_request_by_another_name_is_refused(served: str, host: str) -> None:
    answer = requests.get(f"{served}/facts.json", headers={"Host": host}, timeout=20)
    assert answer.status_code == 421
    assert "landcover" not in answer.text
    own = served.removeprefix("http://").replace(HOST, "localhost")
    assert requests.get(served, headers={"Host": own}, timeout=20).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_only_get_is_answered(served: str, method: str) -> None:
    assert requests.request(method, f"{served}/facts.json", timeout=20).status_code == 405


def test_the_server_is_on_loopback_only(served: str) -> None:
    port = int(served.rsplit(":", 1)[1])
    mine = socket.gethostbyname(socket.gethostname())
    with listening(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
    if not mine.startswith("127."):
        with socket.socket() as caller:
            caller.settimeout(5)
            assert caller.connect_ex((mine, port)) != 0


def test_a_damaged_store_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = draw_map(tmp_path / "map.zarr", [GRID], noise)
    with page(opened(request(path))) as url:
        for chunk in (path / "epsg32633" / "r10m" / "landcover" / "c").rglob("*"):
            if chunk.is_file():
                chunk.write_bytes(b"rubbish")
        answer = requests.get(f"{url}/place?longitude=15.05&latitude=48.72", timeout=20)
    assert (answer.status_code, len(answer.text.splitlines())) == (500, 1)
    assert "Traceback" not in answer.text + (told := capsys.readouterr().err)
    assert told.startswith("error: ")
    assert len(told.splitlines()) == 1


# --- the command --------------------------------------------------------------------------------


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "sscl_geo.cli", "view", *words]


def test_the_command_tells_its_address_and_ends_cleanly(mapped: Path) -> None:
    process = subprocess.Popen(
        command(str(mapped), "--port", "0"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    url = line.split()[1]
    assert line == f"view: {url} (Ctrl-C ends)\n"
    assert requests.get(url, timeout=20).status_code == 200
    process.send_signal(signal.SIGINT)
    told, complaints = process.communicate(timeout=20)
    assert (process.returncode, told, complaints) == (0, "ended\n", "")


def test_a_port_in_use_is_one_clear_line(mapped: Path) -> None:
    with listening(0) as taken:
        port = taken.getsockname()[1]
        told = rf"^--port {port}: 127.0.0.1:{port} cannot be listened on .*or 0 for a free one$"
        with pytest.raises(InvalidInputError, match=told):
            view(request(mapped), port, pytest.fail)


@pytest.mark.parametrize("port", [-1, 70_000])
def test_a_port_that_does_not_exist_is_refused(port: int) -> None:
    with pytest.raises(InvalidInputError, match=f"--port {port}: "):
        listening(port)
