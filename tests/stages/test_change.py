"""Change: only between maps of one model on one grid, and nowhere made up."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sscl_geo.cli.upkeep import repair
from sscl_geo.errors import HolesError, InvalidInputError, PlanConflictError
from sscl_geo.geo.area import Area
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.zones import grids_of
from sscl_geo.io.areas import class_hectares
from sscl_geo.io.cubes import Classes
from sscl_geo.io.journal import journal
from sscl_geo.ops.change import FROM, change_codes, joint_levels
from sscl_geo.runtime.ledger import Ledger
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.change import make_change
from sscl_geo.stages.upkeep import status, verify
from tests.drawn_maps import LEGEND, MODEL, draw_map, drawn

Content = Callable[[Path], dict[str, bytes]]
CRS, ZONE = "EPSG:32633", "epsg32633"
SHAPE = (300, 420)
VALUES = [0, 10, 40, 80]


def grid(tile_px: int = 256) -> Grid:
    return Grid(crs=CRS, origin=(500040, 5800020), shape=SHAPE, tile_px=tile_px)


def classes(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(VALUES, SHAPE, p=[0.1, 0.5, 0.3, 0.1])


def sure(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(50, 201, SHAPE)


def pair(folder: Path, tile_px: tuple[int, int] = (256, 256)) -> tuple[Path, Path]:
    return (
        draw_map(folder / "a.zarr", [grid(tile_px[0])], drawn(classes(1)), drawn(sure(3))),
        draw_map(folder / "b.zarr", [grid(tile_px[1])], drawn(classes(2)), drawn(sure(4))),
    )


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return pair(tmp_path_factory.mktemp("maps"))


@pytest.fixture(scope="module")
def changed(maps: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("change") / "change.zarr"
    summary = make_change(*maps, out, Machines())
    assert (summary.done, summary.empty, summary.now) == (4, 0, 4)
    return out


def layers(store: Path) -> tuple[np.ndarray, np.ndarray]:
    group = xarray.open_zarr(store, group=f"{ZONE}/r10m", mask_and_scale=False)
    return group.change.to_numpy(), group.confidence.to_numpy()


@given(arrays(np.uint8, (4, 5)), arrays(np.uint8, (4, 5)))
def test_a_code_tells_both_classes(before: np.ndarray, after: np.ndarray) -> None:
    codes = change_codes(before, after)
    known = (before != 0) & (after != 0)
    assert ((codes != 0) == known).all()
    assert (codes[known] // FROM == before[known]).all()
    assert (codes[known] % FROM == after[known]).all()


@given(st.integers(0, 200), st.integers(0, 200))
def test_both_classes_are_right_with_the_product_of_their_probabilities(one: int, two: int) -> None:
    before, after = np.full((1, 1), one, np.uint8), np.full((1, 1), two, np.uint8)
    joint = int(joint_levels(before, after, 200, 255)[0, 0])
    assert joint / 200 == pytest.approx(one / 200 * two / 200, abs=0.0026)
    assert joint <= min(one, two)
    nothing = np.full((1, 1), 255, np.uint8)
    assert joint_levels(before, nothing, 200, 255)[0, 0] == 255


def test_each_pixel_tells_its_change_and_how_sure_it_is(changed: Path) -> None:
    codes, confidence = layers(changed)
    known = (classes(1) != 0) & (classes(2) != 0)
    expected = np.where(known, FROM * classes(1).astype(int) + classes(2), 0)
    assert codes.dtype == np.uint16
    assert np.array_equal(codes, expected)
    product = np.rint(np.float32(1) * sure(3) * sure(4) / 200)
    assert (confidence[~known] == 255).all()
    assert np.abs(confidence[known] - product[known]).max() <= 1


def test_gis_finds_names_colours_and_crs(changed: Path) -> None:
    group = xarray.open_zarr(changed, group=f"{ZONE}/r10m")
    flags = group.change.attrs
    named = dict(zip(flags["flag_values"], flags["flag_meanings"].split(), strict=True))
    assert len(named) == 10
    assert named[0] == "unmapped"
    assert named[256 * 10 + 40] == "tree_cover_to_cropland"
    assert group.change.dtype == np.uint16
    assert float(group.confidence.max()) <= 1
    with rasterio.open(changed.with_suffix(".tif")) as file:
        assert np.array_equal(file.read(1), layers(changed)[0])
        assert file.crs.to_epsg() == 32633
        assert file.nodata == 0
        assert file.tags(1)[f"class_{256 * 10 + 40}"] == "Tree cover to Cropland"
        assert file.tags(1)[f"class_{256 * 10 + 10}"] == "Tree cover stayed"
        colors = file.colormap(1)
    assert colors[256 * 10 + 40][:3] == LEGEND.classes[1].rgb
    assert colors[256 * 80 + 40][:3] == LEGEND.classes[1].rgb
    assert colors[256 * 10 + 10] == colors[256 * 80 + 80]


def test_the_hectares_of_all_changes_are_those_of_the_ground(
    changed: Path, maps: tuple[Path, Path]
) -> None:
    table = pd.read_csv(changed.with_suffix(".csv"))
    assert len(table) == 10
    for (before, after), row in table.groupby(["from_value", "to_value"]):
        count = ((classes(1) == before) & (classes(2) == after)).sum()
        if before == 0:
            count = ((classes(1) == 0) | (classes(2) == 0)).sum()
        assert row["counted_ha"].item() == pytest.approx(count / 100 / 0.9996**2, rel=1e-5)
    whole = class_hectares(Classes.open(maps[0], "map")).sum()
    assert table["counted_ha"].sum() == pytest.approx(whole, rel=1e-7)
    assert table["note"].str.contains("biased").all()


def test_tiles_do_not_show(changed: Path, tmp_path: Path) -> None:
    before, after = pair(tmp_path, (512, 256))
    make_change(before, after, tmp_path / "other.zarr", Machines())
    for mine, theirs in zip(layers(changed), layers(tmp_path / "other.zarr"), strict=True):
        assert np.array_equal(mine, theirs)
    one, two = (
        pd.read_csv(path.with_suffix(".csv")) for path in (changed, tmp_path / "other.zarr")
    )
    pd.testing.assert_frame_equal(one, two, rtol=1e-6)


@pytest.mark.cluster
def test_dask_makes_the_same_bytes(
    changed: Path, maps: tuple[Path, Path], tmp_path: Path, content: Content
) -> None:
    make_change(*maps, tmp_path / "change.zarr", Machines(executor="dask"))
    assert content(tmp_path / "change.zarr") == content(changed)


def test_an_interrupted_comparison_goes_on_and_damage_is_found(
    changed: Path, maps: tuple[Path, Path], tmp_path: Path, content: Content
) -> None:
    out = tmp_path / "change.zarr"
    make_change(*maps, out, Machines())
    ledger = out / "ledger.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:1]))
    (out / "tiles.parquet").unlink()
    (out / ZONE / "r10m" / "change" / "c" / "1" / "1").unlink()
    assert status(out).counts["waiting"] == 3
    assert make_change(*maps, out, Machines()).now == 3
    assert content(out) == content(changed)
    (out / ZONE / "r10m" / "confidence" / "c" / "0" / "0").write_bytes(b"rubbish")
    with pytest.raises(HolesError):
        verify(out)
    assert Ledger(journal(out)).finished != set(Ledger(journal(out)).outcomes)
    repair(str(out), executor="serial")
    assert verify(out) == 8
    assert content(out) == content(changed)


def test_zones_have_a_picture_each_and_count_the_ground_once(tmp_path: Path) -> None:
    grids = grids_of(Area(bbox=BBox(5.99, 45, 6.01, 45.01)), "auto", 256)

    def all_of(value: int) -> Callable[[Grid, Window], np.ndarray]:
        return lambda _, window: np.full(window[2:], value)

    before = draw_map(tmp_path / "a.zarr", grids, all_of(10))
    after = draw_map(tmp_path / "b.zarr", grids, all_of(80))
    make_change(before, after, tmp_path / "change.zarr", Machines())
    assert {path.name for path in tmp_path.glob("*.tif")} == {
        f"change-{grid.zone}.tif" for grid in grids
    }
    table = pd.read_csv(tmp_path / "change.csv").set_index(["from_value", "to_value"])
    mapped = class_hectares(Classes.open(before, "map"))[10]
    assert table.loc[(10, 80), "counted_ha"] == pytest.approx(mapped)
    assert table["counted_ha"].sum() == pytest.approx(mapped)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"model": "b" * 64}, "model is a{64} in the one and b{64} in the other"),
        ({"temperature": 2.0}, "temperature is 1.25 in the one and 2.0"),
        ({"legend": "c" * 64}, "legend is"),
        ({"halo": 32}, "halo is 16 in the one and 32"),
        ({"inference": {"has_flips": True}}, "has_flips is False in the one and True"),
    ],
)
def test_maps_of_different_models_are_refused_by_what_differs(
    arguments: dict[str, object], told: str, maps: tuple[Path, Path], tmp_path: Path
) -> None:
    other = draw_map(
        tmp_path / "c.zarr",
        [grid()],
        drawn(classes(2)),
        arguments={**MODEL, **arguments},  # type: ignore[dict-item]
    )
    with pytest.raises(InvalidInputError, match=f"not comparable: {told}"):
        make_change(maps[0], other, tmp_path / "change.zarr", Machines())
    assert not (tmp_path / "change.zarr").exists()


def test_other_grids_and_maps_that_are_none_are_refused(
    maps: tuple[Path, Path], tmp_path: Path
) -> None:
    moved = grid().replace(origin=(500100, 5800020))
    other = draw_map(tmp_path / "moved.zarr", [moved], drawn(classes(2)))
    forest = draw_map(tmp_path / "f.zarr", [grid()], drawn(classes(2)), arguments={"seed": 1})
    for new, told in (
        (other, r"different grids: epsg32633 has origin \(500040, 5800020\)"),
        (forest, "was not made by a model"),
        (maps[0], "are the same map"),
        (tmp_path / "absent.zarr", "not found; give the path of a map"),
    ):
        with pytest.raises(InvalidInputError, match=told) as error:
            make_change(maps[0], new, tmp_path / "change.zarr", Machines())
        assert "\n" not in str(error.value)
    with pytest.raises(InvalidInputError, match=r"must end in \.zarr"):
        make_change(*maps, tmp_path / "change", Machines())
    (tmp_path / "change.csv").write_text("mine")
    with pytest.raises(InvalidInputError, match=r"change\.csv exists and would be replaced"):
        make_change(*maps, tmp_path / "change.zarr", Machines())
    assert (tmp_path / "change.csv").read_text() == "mine"
    assert not (tmp_path / "change.zarr").exists()


def test_another_pair_on_the_same_store_is_refused(
    changed: Path, maps: tuple[Path, Path], tmp_path: Path
) -> None:
    third = draw_map(tmp_path / "third.zarr", [grid()], drawn(classes(9)))
    with pytest.raises(PlanConflictError, match="after is"):
        make_change(maps[0], third, changed, Machines())
