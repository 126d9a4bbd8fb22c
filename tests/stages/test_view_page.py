"""The page of a map in a real browser: it can be used, and needs no other host."""

import io
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from pyproj import Transformer

from sscl_geo.geo.grid import Window
from sscl_geo.geo.legend import LandClass, Legend
from sscl_geo.io.layout import NO_CONFIDENCE
from sscl_geo.stages.view.guard import HOST
from sscl_geo.stages.view.opening import opened
from tests.drawn_maps import LEGEND, draw_map
from tests.shown_maps import GRID, blobs, draw_cube, draw_map_of, noise, page, request

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WAIT_MS = 120_000
NAMES = {item.value: item.name for item in LEGEND.classes}
PAPER = (230, 228, 221)

WATER = Legend(
    name="water",
    classes=(
        LandClass(value=1, name="Wet", color="#123456"),
        LandClass(value=2, name="<b>Dry</b>", color="#abcdef"),
    ),
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api")
    options = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    # Chromium refuses a sandbox to root.
    options += ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        yield running
        running.close()


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("page")
    cube = draw_cube(folder / "cube.zarr")
    return {
        "first": draw_map_of(cube, folder / "first.zarr"),
        "second": draw_map(folder / "second.zarr", [GRID], lambda _, w: np.full(w[2:], 80)),
        "water": draw_map(
            folder / "water.zarr", [GRID], lambda g, w: noise(g, w) % 2 + 1, legend=WATER
        ),
    }


@pytest.fixture(scope="module")
def url(maps: dict[str, Path]) -> Iterator[str]:
    with page(opened(request(maps["first"], other=maps["second"]))) as address:
        yield address


@pytest.fixture
def tab(browser: Any, url: str) -> Iterator[Any]:
    """The page, open and drawn; at the end, nothing was asked of others and nothing went wrong."""
    yield from quiet_tab(browser, url)


def quiet_tab(browser: Any, url: str, width: int = 1100, height: int = 760) -> Iterator[Any]:
    told: list[str] = []
    asked: list[str] = []
    tab = browser.new_page(viewport={"width": width, "height": height})
    tab.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: told.append(str(error)))
    tab.on("request", lambda each: asked.append(each.url))
    yield drawn(tab, url)
    tab.close()
    assert told == []
    hosts = {urlsplit(a).netloc for a in asked if not a.startswith(("blob:", "data:"))}
    assert hosts == {urlsplit(url).netloc}


def drawn(tab: Any, url: str) -> Any:
    tab.set_default_timeout(WAIT_MS)
    tab.goto(url)
    tab.wait_for_selector("body[data-drawn][data-measured]")
    return tab


def picture(tab: Any, id: str = "#stage") -> np.ndarray:  # noqa: A002
    tab.wait_for_function("() => document.fonts.status === 'loaded'")
    return np.asarray(Image.open(io.BytesIO(tab.locator(id).screenshot())).convert("RGB"))


def share(image: np.ndarray, color: tuple[int, ...]) -> float:
    """Return the share of pixels that have a colour, but for rounding."""
    return float((abs(image.astype(int) - color) <= 2).all(2).mean())


def until(tab: Any, expected: Any, *, tries: int = 40) -> np.ndarray:
    """Return a picture that is as expected; tiles come when they come."""
    for _ in range(tries):
        image = picture(tab)
        if expected(image):
            return image
        tab.wait_for_timeout(250)
    pytest.fail("the map did not become what was expected")


def test_the_map_is_drawn_in_the_colours_of_the_legend_beside_it(tab: Any) -> None:
    rows = tab.locator("#tables tbody tr")
    assert [row.split("\n")[0].split("\t")[0].strip() for row in rows.all_inner_texts()] == [
        item.name for item in LEGEND.classes
    ]
    swatches = tab.locator("#tables .swatch").evaluate_all(
        "all => all.map(one => getComputedStyle(one).backgroundColor)"
    )
    assert swatches == [f"rgb{item.rgb}" for item in LEGEND.classes]
    image = picture(tab)
    shares = [share(image, item.rgb) for item in LEGEND.classes]
    assert all(found > 0.01 for found in shares)
    assert sum(shares) + share(image, PAPER) > 0.95
    assert "Contains modified Copernicus Sentinel data 2024." in tab.inner_text("footer")
    assert tab.title() == "Land cover: first"


def test_layers_and_opacity_can_be_chosen(tab: Any) -> None:
    greens = LEGEND.classes[0].rgb
    assert not tab.locator("#ramp").is_visible()
    tab.get_by_label("Confidence", exact=True).check()
    until(tab, lambda image: share(image, greens) < 0.001 and share(image, PAPER) < 0.6)
    assert tab.locator("#ramp").is_visible()
    tab.get_by_label("None").check()
    until(tab, lambda image: share(image, PAPER) > 0.95)
    tab.get_by_label("Radar VV").check()
    until(tab, lambda image: share(image, (128, 128, 128)) > 0.2)
    tab.get_by_label("Land cover", exact=True).check()
    tab.locator("#opacity").fill("50")
    mixed = tuple(round((green + 128) / 2) for green in greens)
    until(tab, lambda image: share(image, mixed) > 0.05)
    tab.get_by_label("True colour").check()
    tab.get_by_label("Period").select_option(label="2024-07-01 to 2024-09-30")
    pale = tuple(round((green + paper) / 2) for green, paper in zip(greens, PAPER, strict=True))
    until(tab, lambda image: share(image, pale) > 0.05)


def test_a_click_tells_what_is_there(tab: Any) -> None:
    box = tab.locator("#left").bounding_box()
    for across, down in ((0.4, 0.4), (0.6, 0.55)):
        tab.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])
        tab.wait_for_selector(".told .class")
        lines = [line for line in tab.inner_text(".told").splitlines() if line.strip()]
        numbers = [float(word.split("°")[0]) for word in lines[-1].split(", ")]
        to_grid = Transformer.from_crs("EPSG:4326", GRID.crs, always_xy=True)
        x, y = to_grid.transform(numbers[1], numbers[0])
        row, column = int((GRID.origin[1] - y) // 10), int((x - GRID.origin[0]) // 10)
        value = int(blobs(GRID, Window(row, column, 1, 1))[0, 0])
        level = int(np.linspace(50, 200, 768).astype(np.uint8)[column])
        assert level != NO_CONFIDENCE
        assert lines[:2] == ["first", NAMES[value]]
        assert f"{level / 2:.1f} %" in lines
        assert lines[-5:-3] == ["second", "Water"]
        tab.get_by_label("Close popup").click()


def test_the_keyboard_reaches_map_values_and_divider(tab: Any) -> None:
    tab.locator("#compare").check()
    tab.locator("#divider").focus()
    for _ in range(5):
        tab.keyboard.press("ArrowLeft")
    assert tab.get_attribute("#divider", "aria-valuenow") == "40"
    tab.keyboard.press("Home")
    assert tab.get_attribute("#divider", "aria-valuenow") == "0"
    tab.locator("#left canvas").focus()
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".told .class")
    tab.locator("#themes input").first.focus()
    tab.keyboard.press("ArrowRight")
    assert tab.locator("#ramp").is_visible()


def test_two_maps_are_swiped(tab: Any) -> None:
    blue, green = LEGEND.classes[2].rgb, LEGEND.classes[0].rgb
    tab.get_by_label("Compare with second").check()

    def is_split(at: float) -> Any:
        def found(image: np.ndarray) -> bool:
            middle = round(at * image.shape[1])
            left, right = image[:, : middle - 30], image[:, middle + 30 :]
            return share(left, green) > 0.05 and share(right, green) == 0 < share(right, blue)

        return found

    until(tab, is_split(0.5))
    stage = tab.locator("#stage").bounding_box()
    handle = tab.locator("#divider").bounding_box()
    y = handle["y"] + 40
    tab.mouse.move(handle["x"] + handle["width"] / 2, y)
    tab.mouse.down()
    tab.mouse.move(stage["x"] + 0.7 * stage["width"], y, steps=4)
    tab.mouse.up()
    assert tab.get_attribute("#divider", "aria-valuenow") == "70"
    until(tab, is_split(0.7))
    before = tab.evaluate("() => location.hash")
    tab.mouse.move(stage["x"] + 0.85 * stage["width"], stage["y"] + 300)
    tab.mouse.wheel(0, -300)
    tab.wait_for_function("hash => location.hash !== hash", arg=before)


def test_areas_follow_the_view(tab: Any) -> None:
    whole = tab.inner_text("#tables tfoot td >> nth=0")
    assert float(whole.replace(",", "")) == pytest.approx(768 * 768 / 100, rel=0.01)
    assert tab.inner_text("#areas-told") == "Area in view, hectares; every pixel counted"
    tab.get_by_label("Zoom in").click()
    tab.wait_for_function(
        "old => document.querySelector('#tables tfoot td').innerText !== old", arg=whole
    )
    less = float(tab.inner_text("#tables tfoot td >> nth=0").replace(",", ""))
    assert less < 768 * 768 / 100


def test_a_script_of_the_page_could_not_reach_another_server(browser: Any, url: str) -> None:
    tab = drawn(browser.new_page(), url)
    with socket.create_server((HOST, 0)) as other:
        other.settimeout(0.5)
        address = f"http://{HOST}:{other.getsockname()[1]}/"
        tries = f"""async () => {{
            const failed = [];
            document.addEventListener("securitypolicyviolation", (e) => failed.push(e.blockedURI));
            await fetch("{address}").catch(() => {{}});
            new Image().src = "{address}i.png";
            await import("{address}s.js").catch(() => {{}});
            try {{ (0, eval)("1"); }} catch {{ failed.push("eval refused"); }}
            await new Promise((resolve) => setTimeout(resolve, 300));
            return failed;
        }}"""
        failed = tab.evaluate(tries)
        assert len([uri for uri in failed if uri.startswith(address)]) == 3
        with pytest.raises(TimeoutError):
            other.accept()
    tab.close()


def test_legends_that_differ_are_both_shown_and_names_are_text(
    browser: Any, maps: dict[str, Path]
) -> None:
    with page(opened(request(maps["first"], other=maps["water"]))) as address:
        for tab in quiet_tab(browser, address):
            captions = tab.locator("#tables caption").all_inner_texts()
            assert captions == ["first (drawn)", "water (water)"]
            assert "<b>Dry</b>" in tab.inner_text("#tables")
            assert tab.locator("#tables b").count() == 0


@pytest.mark.parametrize("width", [360, 800])
def test_the_page_fits_small_screens(browser: Any, url: str, width: int) -> None:
    for tab in quiet_tab(browser, url, width, 740):
        assert tab.evaluate("() => document.documentElement.scrollWidth") <= width
        assert share(picture(tab), LEGEND.classes[0].rgb) > 0.05
        is_phone = tab.locator("#fold").is_visible()
        assert is_phone == (width == 360)
        if is_phone:
            high = tab.locator("#stage").bounding_box()["height"]
            tab.locator("#fold").click()
            assert tab.locator("#stage").bounding_box()["height"] > high
