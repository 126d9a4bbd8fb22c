"""Maps and a cube to look at, and the page that shows them."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sscl_geo.geo.cube import CubeSpec
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.period import Period
from sscl_geo.io.layout import cube_layout
from sscl_geo.io.location import location
from sscl_geo.io.plan import Plan
from sscl_geo.io.store import Store
from sscl_geo.io.tables import TILES, records_table
from sscl_geo.sensors.sentinel1_rtc import SENSOR as S1
from sscl_geo.sensors.sentinel2_l2a import SENSOR as S2
from sscl_geo.stages.view.guard import HOST
from sscl_geo.stages.view.opening import Shown, ViewRequest
from sscl_geo.stages.view.server import listening, server
from tests.drawn_maps import LEGEND, MODEL, draw_map, drawn

GRID = Grid(crs="EPSG:32633", origin=(499_980, 5_400_060), shape=(768, 768), tile_px=256)
VALUES = np.array(LEGEND.values, np.uint8)


def noise(grid: Grid, window: Window) -> np.ndarray:
    """Classes without any pattern that a shift could hide in."""
    y, x = np.ogrid[window.slices]
    code = (y * 7919 + x * 104_729 + int(grid.crs[-2:]) * 31) % 1009
    return np.where(code % 11 == 0, 0, VALUES[code % 3])


def blobs(_: Grid, window: Window) -> np.ndarray:
    y, x = np.ogrid[window.slices]
    is_round = np.sin(y / 37) + np.cos(x / 53) * 1.2 > 0.4
    return np.asarray(VALUES[is_round.astype(int) + (y + 2 * x > 1700)])


def rgba(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def request(path: Path, **fields: Any) -> ViewRequest:
    return ViewRequest(map=location(path), **{k: location(v) for k, v in fields.items()})


def draw_cube(out: Path) -> Path:
    """Make a cube of two periods, the second empty: ever brighter to the east, with a gap."""
    days = [Period(start=date(2024, month, 1), end=date(2024, month + 3, 1)) for month in (4, 7)]
    spec = CubeSpec(grids=(GRID,), periods=tuple(days), sensors=(S1, S2))
    content: dict[str, Any] = {"spec": spec.model_dump(mode="json")}
    plan = Plan(kind="cube", stage_version=1, arguments={"a": 1}, content=content)
    whole = Window(0, 0, *GRID.shape)

    def fill(store: Store) -> None:
        bright = np.linspace(1000, 4000, GRID.shape[1]).astype(np.uint16)
        optical = np.broadcast_to(bright, (4, *GRID.shape)).copy()
        optical[..., 384:512] = 0
        store.write("epsg32633/r10m/s2", (0,), whole, optical)
        store.write("epsg32633/r10m/s1", (0,), whole, np.full((2, *GRID.shape), -1250, np.int16))

    Store.create(out, plan, cube_layout(spec, {}), {TILES: records_table([])}, fill)
    return out


def draw_map_of(cube: Path, out: Path) -> Path:
    """Make a map that says that it is made of a cube, ever surer to the east."""
    digest = Store.open(cube, "cube").plan.digest
    sure = drawn(np.broadcast_to(np.linspace(50, 200, 768).astype(np.uint8), (768, 768)))
    draw_map(out, [GRID], blobs, sure, arguments={**MODEL, "cube": digest})
    (out / "sources.json").write_text(f'{{"cube": "{cube}", "model": "/nowhere"}}')
    return out


@contextmanager
def page(shown: Shown) -> Iterator[str]:
    """Serve a page on a free port until the block ends."""
    with listening(0) as listener:
        port = listener.getsockname()[1]
        running = server(shown, port)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://{HOST}:{port}"
        finally:
            running.should_exit = True
            thread.join()
