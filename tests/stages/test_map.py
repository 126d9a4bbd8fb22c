"""Mapping: the map does not know its tiles, its workers, or its interruptions."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray

from sscl_geo.errors import InvalidInputError, PlanConflictError
from sscl_geo.geo.legend import Legend
from sscl_geo.io.bundle import read_card, read_weights, write_bundle
from sscl_geo.learn.study import Study
from sscl_geo.runtime.gang import Ranks
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.finetune import FinetuneRequest, finetune
from sscl_geo.stages.ingest import ingest
from sscl_geo.stages.map import make_map

Content = Callable[[Path], dict[str, bytes]]
ZONE = "epsg32633"


@pytest.fixture(scope="module")
def mapped(learned: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("map") / "map.zarr"
    make_map(learned.cube, learned.model, out, Machines())
    return out


def pixels(store: Path) -> tuple[np.ndarray, np.ndarray]:
    group = xarray.open_zarr(store, group=ZONE, mask_and_scale=False)
    return group.landcover.values, group.confidence.values


def test_every_observed_pixel_has_a_class_of_the_legend_and_no_other_has_one(
    learned: Any, mapped: Path, dfc2020: Legend
) -> None:
    landcover, confidence = pixels(mapped)
    cube = xarray.open_zarr(learned.cube, group=f"{ZONE}/r10m", mask_and_scale=False)
    seen = (cube.s2.values != 0).any((0, 1)) | (cube.s1.values != -32768).any((0, 1))
    coarse = xarray.open_zarr(learned.cube, group=f"{ZONE}/r20m", mask_and_scale=False)
    seen |= (coarse.s2.values != 0).any((0, 1)).repeat(2, 0).repeat(2, 1)
    assert set(np.unique(landcover[seen])) <= set(dfc2020.values)
    assert (landcover[~seen] == 0).all()
    assert (confidence[~seen] == 255).all()
    assert (confidence[seen] <= 200).all()
    assert confidence[seen].min() >= 200 // len(dfc2020.classes)


def test_another_tile_size_and_dask_make_the_same_map(
    learned: Any, mapped: Path, tmp_path: Path, content: Content
) -> None:
    make_map(learned.cube, learned.model, tmp_path / "big.zarr", Machines(), tile_px=512)
    for mine, theirs in zip(pixels(mapped), pixels(tmp_path / "big.zarr"), strict=True):
        assert np.array_equal(mine, theirs)
    by_dask = tmp_path / "dask.zarr"
    make_map(learned.cube, learned.model, by_dask, Machines(executor="dask"))
    assert content(by_dask) == content(mapped)


def test_killed_at_any_moment_and_run_again_it_makes_the_same_bytes(
    learned: Any, mapped: Path, tmp_path: Path, content: Content
) -> None:
    def command(out: Path) -> list[str]:
        return [
            *(sys.executable, "-m", "sscl_geo.cli", "map", "--executor", "serial"),
            *("--cube", str(learned.cube), "--model", str(learned.model), "--out", str(out)),
        ]

    started = time.monotonic()
    subprocess.run(command(tmp_path / "alone.zarr"), check=True, capture_output=True)
    whole = time.monotonic() - started
    rng, kills = random.Random(1), 0  # noqa: S311 - moments, not secrets
    for _ in range(3):
        process = subprocess.Popen(
            command(tmp_path / "map.zarr"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(timeout=whole * rng.uniform(0.4, 0.8))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    subprocess.run(command(tmp_path / "map.zarr"), check=True, capture_output=True)
    assert kills >= 1
    assert content(tmp_path / "map.zarr") == content(mapped)


def test_the_cog_beside_the_map_has_its_classes_colours_and_crs(
    mapped: Path, dfc2020: Legend
) -> None:
    landcover, _ = pixels(mapped)
    with rasterio.open(mapped.with_suffix(".tif")) as file:
        assert np.array_equal(file.read(1), landcover)
        assert file.crs.to_epsg() == 32633
        assert file.colormap(1)[10][:3] == dfc2020.classes[-1].rgb
        assert file.tags(1)["class_10"] == "Water"


def test_an_encoder_cannot_map(learned: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="finetune"):
        make_map(learned.cube, learned.encoder, tmp_path / "map.zarr", Machines())
    assert not (tmp_path / "map.zarr").exists()


def test_a_bundle_with_a_band_that_the_cube_lacks_is_refused(learned: Any, tmp_path: Path) -> None:
    bundle = read_card(learned.model)
    network = dict(bundle.network)
    bands = [dict(band) for band in network["bands"]]  # type: ignore[union-attr, arg-type]
    bands[0]["name"] = "sentinel2_l2a:B10"
    other = bundle.replace(network={**network, "bands": bands})
    write_bundle(tmp_path / "model", other, read_weights(learned.model, bundle))
    with pytest.raises(InvalidInputError, match="lacks the bands sentinel2_l2a:B10"):
        make_map(learned.cube, tmp_path / "model", tmp_path / "map.zarr", Machines())
    assert not (tmp_path / "map.zarr").exists()


def test_another_model_on_the_same_map_is_refused(
    learned: Any, mapped: Path, tmp_path: Path
) -> None:
    bundle = read_card(learned.model)
    weights = read_weights(learned.model, bundle)
    name = "head.layer.bias"
    write_bundle(tmp_path / "model", bundle, {**weights, name: weights[name] + 1})
    with pytest.raises(PlanConflictError, match="model is"):
        make_map(learned.cube, tmp_path / "model", mapped, Machines())


def test_a_cube_without_a_sensor_is_mapped_by_a_model_that_learned_to_do_without(
    world: Any, learned: Any, tiny_study: Study, tmp_path: Path
) -> None:
    optical = tmp_path / "optical.zarr"
    ingest(world.request(sensors=["sentinel2_l2a"]), optical, Machines())
    withheld = {"settings": {"withhold": {"sensor": 0.4}}}
    study = tiny_study.replace(
        has_masks=True, finetune={**tiny_study.finetune.model_dump(), **withheld}
    )
    request = FinetuneRequest(imagery=(learned.cube,), labels=(learned.labels,), study=study)
    finetune(request, tmp_path / "model", Ranks())
    maps = {}
    for name, cube in (("whole", learned.cube), ("optical", optical)):
        make_map(cube, tmp_path / "model", tmp_path / f"map-{name}.zarr", Machines())
        maps[name] = pixels(tmp_path / f"map-{name}.zarr")
    seen = xarray.open_zarr(optical, group=f"{ZONE}/r10m", mask_and_scale=False).s2.values != 0
    assert (maps["optical"][0][seen.any((0, 1))] != 0).all()
    # It looks at radar where there is some.
    assert not np.array_equal(maps["optical"][1], maps["whole"][1])
    with pytest.raises(InvalidInputError, match="lacks the bands sentinel1_rtc:VV"):
        make_map(optical, learned.model, tmp_path / "refused.zarr", Machines())
    assert not (tmp_path / "refused.zarr").exists()


def test_a_model_of_chips_is_not_taken_for_one_of_cubes(learned: Any, tmp_path: Path) -> None:
    card = read_card(learned.model)
    bands: list[Any] = card.network["bands"]  # type: ignore[assignment]
    chips = [{**band, "array": band["array"].split("/")[-1], "gsd": 10} for band in bands]
    network = {**card.network, "bands": chips}
    weights = read_weights(learned.model, card)
    write_bundle(tmp_path / "model", card.replace(network=network), weights)
    with pytest.raises(InvalidInputError, match="chips and cubes do not mix"):
        make_map(learned.cube, tmp_path / "model", tmp_path / "map.zarr", Machines())
    assert not (tmp_path / "map.zarr").exists()
