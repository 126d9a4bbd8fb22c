"""Forests that see their surroundings, and maps that are the mean of others."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import xarray
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.ensemble import RandomForestClassifier

from sscl_geo.cli import app
from sscl_geo.errors import HolesError, InvalidInputError, PlanConflictError
from sscl_geo.geo.grid import Window
from sscl_geo.geo.legend import UNLABELLED
from sscl_geo.io.cubes import Classes, Cube
from sscl_geo.io.location import location
from sscl_geo.ops.blending import mean_of
from sscl_geo.ops.context import with_context
from sscl_geo.runtime.work import Machines
from sscl_geo.sensors import sensor_of
from sscl_geo.stages.baseline import ForestRequest, forest, make_baseline
from sscl_geo.stages.combine import combine
from sscl_geo.stages.map import make_map
from sscl_geo.stages.map.inference import Inference
from sscl_geo.stages.publish import PublishRequest, publish
from sscl_geo.stages.upkeep import status, verify
from tests.drawn_maps import draw_map, drawn

Content = Callable[[Path], dict[str, bytes]]

CONTEXT, TREES = (3, 9), 12


class Maps(NamedTuple):
    network: Path
    forest: Path
    mean: Path


@pytest.fixture(scope="module")
def maps(learned: Any, tmp_path_factory: pytest.TempPathFactory) -> Maps:
    folder = tmp_path_factory.mktemp("combined")
    made = Maps(*(folder / f"{name}.zarr" for name in Maps._fields))
    asked = Inference(has_probabilities=True)
    make_map(learned.cube, learned.model, made.network, Machines(), inference=asked)
    run(
        *("baseline", "--cube", learned.cube, "--labels", learned.labels, "--out", made.forest),
        *("--context", CONTEXT[0], "--context", CONTEXT[1], "--trees", TREES),
        *("--seed", 3, "--probabilities"),
    )
    run("combine", "--map", made.network, "--map", made.forest, "--out", made.mean)
    return made


def run(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "sscl_geo.cli", *map(str, words)], check=True)


def layers(path: Path) -> Any:
    return xarray.open_zarr(path, group="epsg32633/r10m", mask_and_scale=False)


@given(
    st.lists(arrays(np.uint8, (3, 2, 4), elements=st.integers(0, 200)), min_size=1, max_size=4),
    st.data(),
)
def test_a_pixel_has_the_mean_of_those_that_saw_it(
    levels: list[np.ndarray], data: st.DataObject
) -> None:
    seen = data.draw(arrays(np.bool_, (len(levels), 2, 4)))
    stored = [
        np.where(mask, one, 255).astype(np.uint8) for one, mask in zip(levels, seen, strict=True)
    ]
    found = mean_of(stored, 200, 255)
    assert np.array_equal(found.is_seen, seen.any(0))
    for y, x in np.ndindex(2, 4):
        known = [one[:, y, x] / 200 for one, mask in zip(levels, seen, strict=True) if mask[y, x]]
        expected = np.mean(known, 0) if known else np.zeros(3)
        assert found.shares[:, y, x] == pytest.approx(expected, abs=1e-6)
        assert found.probability[y, x] == pytest.approx(expected.max(), abs=1e-6)


def test_a_combined_map_is_the_mean_and_its_greatest(maps: Maps) -> None:
    one, two, mean = (layers(path).probability.values.astype(int) for path in maps)
    seen = (one[0] != 255) & (two[0] != 255)
    assert seen.mean() > 0.5
    assert (one != two).any()
    assert np.abs(2 * mean - one - two)[:, seen].max() <= 1
    assert (layers(maps.mean).landcover.values[(one[0] == 255) & (two[0] == 255)] == 0).all()
    legend = Classes.open(maps.mean, "map").legend
    told = np.array(legend.values)[(one + two).argmax(0)]
    assert (layers(maps.mean).landcover.values == told)[seen].all()
    confidence = layers(maps.mean).confidence.values
    assert np.array_equal(confidence[seen], mean.max(0)[seen])
    assert not np.array_equal(layers(maps.network).landcover.values, told)


def test_a_forest_sees_what_lies_around_a_pixel_in_the_next_tile_too(
    maps: Maps, learned: Any
) -> None:
    cube, labels = Cube.open(learned.cube), Classes.open(learned.labels, "labels")
    (grid,) = cube.spec.grids
    assert len(grid.tiles) > 1
    whole = Window(0, 0, *grid.shape)
    places = cube.wanted([band.name for band in cube.bands()])
    planes = [
        plane.repeat(grid.shape[0] // len(plane), 0).repeat(grid.shape[0] // len(plane), 1)
        for time in range(len(cube.spec.periods))
        for stored in cube.read(grid.zone, time, places, whole).values()
        for plane in stored
    ]
    stacked = np.stack(planes).astype(np.float32)
    nodata = [sensor_of(band.name).nodata for band in cube.bands()] * len(cube.spec.periods)
    is_valid = stacked != np.array(nodata)[:, None, None]
    features = with_context(stacked, CONTEXT, is_valid)
    samples, classes = [], []
    for tile in grid.tiles:
        rows, columns = grid.window(tile).slices
        reference = labels.read(grid.zone, grid.window(tile))
        reference[~is_valid[:, rows, columns].any(0)] = UNLABELLED
        samples.append(features[:, rows, columns][:, reference != UNLABELLED].T)
        classes.append(reference[reference != UNLABELLED])
    own = RandomForestClassifier(TREES, random_state=3, n_jobs=-1)
    own.fit(np.concatenate(samples), np.concatenate(classes))
    expected = own.predict_proba(features.reshape(len(features), -1).T)
    found = layers(maps.forest).probability.values
    seen = found[0] != 255
    told = found[labels.legend.indices(own.classes_)].reshape(len(own.classes_), -1).T
    gap = np.abs(told / 200 - expected).max(1).reshape(grid.shape)
    # Sums of windows begin elsewhere, which moves some by a rounding over a tree's threshold.
    assert (gap[seen] <= 0.0026).mean() > 0.995
    assert gap[seen].max() < 0.05


def test_a_forest_learns_from_so_many_pixels_of_all_tiles_together(
    learned: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, fit = [], RandomForestClassifier.fit

    def counted(self: RandomForestClassifier, samples: np.ndarray, classes: np.ndarray) -> object:
        counts.append(len(samples))
        return fit(self, samples, classes)

    monkeypatch.setattr(RandomForestClassifier, "fit", counted)
    monkeypatch.setattr(forest, "MOST_PIXELS", 100)
    make_baseline(learned.cube, learned.labels, tmp_path / "f.zarr", ForestRequest(trees=1))
    (grid,) = Cube.open(learned.cube).spec.grids
    labels = Classes.open(learned.labels, "labels")
    labelled = [(labels.read(grid.zone, grid.window(tile)) != 0).sum() for tile in grid.tiles]
    assert sum(labelled) > 100 >= counts[0] > 100 - 2 * len(labelled)


@pytest.mark.parametrize("name", ["forest", "mean"])
def test_a_damaged_tile_of_either_is_found_and_made_again(
    maps: Maps, content: Content, name: str, tmp_path: Path
) -> None:
    path = tmp_path / "map.zarr"
    shutil.copytree(getattr(maps, name), path)
    (grid,) = Classes.open(path, "map").grids
    assert status(path).counts["waiting"] == 0
    assert verify(path) >= len(grid.tiles)
    array = zarr.open_array(path, path="epsg32633/r10m/second", mode="r+")
    array[:1, :1] = 99
    with pytest.raises(HolesError, match="epsg32633/0/0"):
        verify(path)
    with pytest.raises(SystemExit, match="0"):
        app(["repair", str(path), "--executor", "serial"])
    assert verify(path) >= len(grid.tiles)
    assert content(path) == content(getattr(maps, name))


def test_a_published_mean_says_what_it_is(maps: Maps, tmp_path: Path) -> None:
    publish(PublishRequest(map=location(maps.mean)), tmp_path / "product", Machines())
    (item,) = (tmp_path / "product" / "items").glob("*.json")
    told = json.loads(item.read_text())["properties"]["processing:lineage"]
    assert told.startswith("Classified as the mean of the probabilities of 2 maps from ")


def test_the_same_command_goes_on_and_another_is_refused(maps: Maps) -> None:
    assert combine([maps.network, maps.forest], maps.mean, Machines()).now == 0
    with pytest.raises(PlanConflictError, match="made by another plan: maps"):
        combine([maps.forest, maps.network], maps.mean, Machines())


def test_what_cannot_be_combined_is_told_and_leaves_nothing(
    maps: Maps, learned: Any, tmp_path: Path
) -> None:
    make_baseline(learned.cube, learned.labels, tmp_path / "bare.zarr", ForestRequest(trees=2))
    (grid,) = Classes.open(maps.network, "map").grids
    other = draw_map(tmp_path / "other.zarr", [grid], drawn(np.full(grid.shape, 10)))
    out = tmp_path / "out.zarr"
    wrong = {
        "two maps or more, each once": [maps.network, maps.network],
        "keeps no probabilities": [maps.network, tmp_path / "bare.zarr"],
        "was not made of the cube of": [maps.network, other],
    }
    for cause, paths in wrong.items():
        with pytest.raises(InvalidInputError, match=cause):
            combine(paths, out, Machines())
    with pytest.raises(InvalidInputError, match="two maps or more"):
        combine([maps.mean], out, Machines())
    assert not out.exists()
