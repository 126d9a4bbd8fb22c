from pathlib import Path
from typing import Final

import geopandas
import numpy as np
import pytest
from affine import Affine
from jaxtyping import UInt8
from rasterio.features import rasterize

from sscl_geo.demo.landscape import make_landscape
from sscl_geo.demo.polygons import write_polygons
from sscl_geo.errors import InvalidInputError

CRS: Final = "EPSG:32633"
TRANSFORM: Final = Affine(10, 0, 500_040, 0, -10, 5_400_000)
WEST: Final = slice(0, 144)
FRACTION: Final = 0.015


@pytest.fixture(scope="module")
def classes() -> UInt8[np.ndarray, "y x"]:
    return make_landscape(7, 240).classes


def draw(classes: UInt8[np.ndarray, "y x"], path: Path, **changes: object) -> float:
    arguments = {
        "crs": CRS,
        "transform": TRANSFORM,
        "max_fraction": FRACTION,
        "seed": 1,
        "columns": WEST,
    }
    return write_polygons(classes, path, **(arguments | changes))  # type: ignore[arg-type]


def burn(path: Path, shape: tuple[int, int]) -> UInt8[np.ndarray, "y x"]:
    table = geopandas.read_file(path)
    pairs = zip(table.geometry, table["class"], strict=True)
    burnt: UInt8[np.ndarray, "y x"] = rasterize(pairs, shape, transform=TRANSFORM, dtype="uint8")
    return burnt


def test_labels_are_true_and_stay_in_their_columns(
    classes: UInt8[np.ndarray, "y x"], tmp_path: Path
) -> None:
    draw(classes, tmp_path / "p.gpkg")
    labels = burn(tmp_path / "p.gpkg", classes.shape)
    assert np.array_equal(labels[labels > 0], classes[labels > 0])
    assert not labels[:, WEST.stop :].any()


def test_the_returned_fraction_is_what_gets_labelled_and_nearly_all_allowed(
    classes: UInt8[np.ndarray, "y x"], tmp_path: Path
) -> None:
    fraction = draw(classes, tmp_path / "p.gpkg")
    labels = burn(tmp_path / "p.gpkg", classes.shape)
    assert fraction == pytest.approx((labels > 0).mean(), abs=1e-9)
    assert 0.8 * FRACTION < fraction <= FRACTION


def test_every_class_gets_its_share(classes: UInt8[np.ndarray, "y x"], tmp_path: Path) -> None:
    draw(classes, tmp_path / "p.gpkg")
    labels = burn(tmp_path / "p.gpkg", classes.shape)
    codes, counts = np.unique(labels[labels > 0], return_counts=True)
    assert set(codes) == set(np.unique(classes))
    assert counts.min() > 0.04 * counts.sum()


def test_polygons_are_compact_and_do_not_overlap(
    classes: UInt8[np.ndarray, "y x"], tmp_path: Path
) -> None:
    draw(classes, tmp_path / "p.gpkg", max_fraction=0.1)
    table = geopandas.read_file(tmp_path / "p.gpkg")
    assert table.crs == CRS
    assert np.issubdtype(table["class"].dtype, np.integer)
    assert table.geometry.union_all().area == pytest.approx(table.geometry.area.sum())
    bounds = table.geometry.bounds
    sides = np.concatenate([bounds.maxx - bounds.minx, bounds.maxy - bounds.miny])
    assert sides.min() >= 14
    assert sides.max() <= 90


def test_a_seed_draws_the_same_polygons(classes: UInt8[np.ndarray, "y x"], tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        draw(classes, tmp_path / f"{name}.gpkg", seed=seed)
    first, again, other = (burn(tmp_path / f"{name}.gpkg", classes.shape) for name in "abc")
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_class_that_cannot_be_labelled_is_an_error(
    classes: UInt8[np.ndarray, "y x"], tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match="no polygon fits"):
        draw(classes, tmp_path / "p.gpkg", max_fraction=0.0001)
