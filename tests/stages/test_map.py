"""Mapping: the map does not know its tiles, its workers, or its interruptions."""

import random
import shutil
import signal
import subprocess
import sys
import time
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
import xarray

from sscl_geo.errors import InvalidInputError, PlanConflictError
from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.legend import Legend
from sscl_geo.io.bundle import read_card, read_weights, write_bundle
from sscl_geo.io.cubes import Cube
from sscl_geo.learn.network import Segmenter
from sscl_geo.learn.spec import NetworkSpec
from sscl_geo.learn.study import Study
from sscl_geo.ops.windows import Lattice
from sscl_geo.runtime.gang import Ranks
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.finetune import FinetuneRequest, finetune
from sscl_geo.stages.ingest import ingest
from sscl_geo.stages.map import Inference, make_map, resume
from sscl_geo.stages.map.inference import Network, blended
from sscl_geo.stages.upkeep import verify
from tests.drawn_cubes import draw_cube

Content = Callable[[Path], dict[str, bytes]]
ZONE = "epsg32633"


@pytest.fixture(scope="module")
def mapped(learned: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("map") / "map.zarr"
    make_map(learned.cube, learned.model, out, Machines())
    return out


def pixels(store: Path) -> tuple[np.ndarray, np.ndarray]:
    group = xarray.open_zarr(store, group=f"{ZONE}/r10m", mask_and_scale=False)
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
    # Mapping sets its own number, so that its bits are those of any machine.
    torch.set_num_threads(2)
    make_map(learned.cube, learned.model, tmp_path / "big.zarr", Machines(), tile_px=512)
    assert torch.get_num_threads() == 1
    for mine, theirs in zip(pixels(mapped), pixels(tmp_path / "big.zarr"), strict=True):
        assert np.array_equal(mine, theirs)
    by_dask = tmp_path / "dask.zarr"
    make_map(learned.cube, learned.model, by_dask, Machines(executor="dask"))
    assert content(by_dask) == content(mapped)


def test_tiles_of_512_1024_and_2048_make_the_same_map(learned: Any, tmp_path: Path) -> None:
    """Two tiles of the largest size, and a hole; two workers make the last."""
    grid = Grid(crs="EPSG:32633", origin=(499980, 5400000), shape=(2160, 198), tile_px=512)
    cube = tmp_path / "cube.zarr"
    draw_cube(cube, (grid,), Window(500, 60, 30, 90), blind_periods=2)
    arrays: list[dict[str, np.ndarray]] = []
    for tile_px in (512, 1024, 2048):
        machines = Machines(executor="dask", workers=2) if tile_px == 2048 else Machines()
        out = tmp_path / f"{tile_px}.zarr"
        inference = Inference(has_probabilities=True)
        assert make_map(cube, learned.model, out, machines, tile_px, inference).done == -(
            -2160 // tile_px
        )
        with xarray.open_datatree(out, engine="zarr", chunks=None, mask_and_scale=False) as tree:
            arrays.append(
                {
                    f"{node.path}/{name}": array.values
                    for node in tree.subtree
                    for name, array in node.data_vars.items()
                    if name != "coverage"  # of tiles
                }
            )
        arrays[-1]["cog"] = np.frombuffer((tmp_path / f"{tile_px}.tif").read_bytes(), np.uint8)
    assert {f"/{ZONE}/r10m/probability", f"/{ZONE}/r160m/landcover"} <= arrays[0].keys()
    assert int((arrays[0][f"/{ZONE}/r10m/landcover"] == 0).sum()) == 30 * 90
    for other in arrays[1:]:
        assert other.keys() == arrays[0].keys()
        for name, array in arrays[0].items():
            assert np.array_equal(array, other[name]), name


def test_killed_at_any_moment_and_run_again_it_makes_the_same_bytes(
    learned: Any, mapped: Path, tmp_path: Path, content: Content, wanted: int, tally: Counter[str]
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
    out = tmp_path / "map.zarr"
    while kills < wanted:
        process = subprocess.Popen(
            command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(timeout=whole * rng.uniform(0.2, 0.95))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        else:
            # It came to its end before its moment; what follows begins anew.
            assert content(out) == content(mapped)
            shutil.rmtree(out)
            out.with_suffix(".tif").unlink()
    subprocess.run(command(out), check=True, capture_output=True)
    tally["kills of a driver"] += kills
    assert content(out) == content(mapped)


class Linear(Segmenter):
    """A network that sees each pixel alone: its logits are weighted sums of the bands."""

    def forward(self, bands: torch.Tensor, _: torch.Tensor | None = None) -> torch.Tensor:
        weights = torch.linspace(-2, 2, 3 * bands.shape[1]).reshape(3, -1)
        return torch.einsum("cb,nbyx->ncyx", weights, bands)


def test_a_linear_model_shows_no_step_at_the_borders_of_tiles_and_windows(learned: Any) -> None:
    cube, whole = (
        Cube.open(learned.cube),
        NetworkSpec.model_validate(read_card(learned.model).network),
    )
    spec = whole.replace(bands=tuple(band for band in whole.bands if band.gsd == 10))
    segmenter = Linear(spec, 3).eval()
    network = Network(segmenter, 1.0, Inference())
    grid = cube.spec.grids[0].retiled(256)
    found = np.zeros((3, *grid.shape), np.float32)
    is_seen = np.zeros(grid.shape, np.bool_)
    for tile in grid.tiles:
        window = grid.window(tile)
        told = blended(cube, grid.zone, window, network, Lattice(64, 8), 3)
        found[:, *window.slices], is_seen[window.slices] = told.shares, told.is_seen
    places = cube.wanted([band.name for band in spec.bands])
    expected = []
    for sample in cube.samples(places):
        stored = cube.read(grid.zone, sample, places, Window(0, 0, *grid.shape))
        seen = network.probabilities([stored])
        expected.append(np.where(seen.is_seen, seen.shares[0], 0))
    total = np.sum(expected, 0)
    mean = total / np.maximum(total.sum(0), 1e-9)
    assert len(grid.tiles) > 1
    assert np.abs(found - mean)[:, is_seen].max() < 1e-5
    assert np.array_equal(is_seen, total.sum(0) > 0)


class Small(Linear):
    """A network whose device has memory for so many windows."""

    most = 8
    held: "weakref.ref[torch.Tensor] | None" = None

    def forward(self, bands: torch.Tensor, is_absent: torch.Tensor | None = None) -> torch.Tensor:
        # What did not fit is free again before the halves come.
        assert self.held is None or self.held() is None
        if len(bands) > self.most:
            self.held = weakref.ref(bands)
            raise torch.OutOfMemoryError
        return super().forward(bands, is_absent)


def test_a_batch_that_memory_does_not_hold_is_halved_once(learned: Any) -> None:
    spec = NetworkSpec.model_validate(read_card(learned.model).network)
    random = np.random.default_rng(0)
    windows = [
        {
            name: random.integers(1, 3000, (len(bands), *[640 // bands[0].gsd] * 2)).astype(
                np.int32
            )
            for name, bands in spec.arrays.items()
        }
        for _ in range(16)
    ]
    segmenter = Small(spec, 3).eval()
    batched = Network(segmenter, 1.0, Inference()).asked(windows, 16)
    for number, one in enumerate(windows):
        alone = Network(segmenter, 1.0, Inference()).probabilities([one])
        assert np.allclose(batched.shares[number], alone.shares[0], atol=1e-6)
    segmenter.most = 4
    with pytest.raises(torch.OutOfMemoryError):
        Network(segmenter, 1.0, Inference()).asked(windows, 16)


def test_the_other_layers_fit_the_classes(learned: Any, mapped: Path, dfc2020: Legend) -> None:
    fine = xarray.open_zarr(mapped, group=f"{ZONE}/r10m", mask_and_scale=False)
    seen = fine.landcover.values != 0
    assert set(np.unique(fine.second.values[seen])) <= set(dfc2020.values)
    assert (fine.second.values[seen] != fine.landcover.values[seen]).all()
    assert (fine.second.values[~seen] == 0).all()
    # Confidence is at most one level of rounding below the margin.
    assert (fine.margin.values[seen] <= fine.confidence.values[seen].astype(int) + 1).all()
    assert (fine.margin.values[~seen] == 255).all()
    cube = xarray.open_zarr(learned.cube, group=f"{ZONE}/r10m")
    for array in ("s1", "s2"):
        assert np.array_equal(
            fine[f"n_obs_{array}"].values, cube[f"n_valid_{array}"].sum("time").values
        )


def test_each_level_is_the_mode_of_the_map_and_knows_its_place(mapped: Path) -> None:
    with xarray.open_datatree(mapped, engine="zarr", chunks=None, mask_and_scale=False) as tree:
        layout = tree[ZONE].attrs["multiscales"]["layout"]
        names = [level["asset"] for level in layout]
        assert names[:4] == ["r10m", "r20m", "r40m", "r80m"]
        fine = tree[f"{ZONE}/r10m"].ds
        for name in names[1:]:
            level, factor = tree[f"{ZONE}/{name}"].ds, int(name.strip("rm")) // 10
            assert level.attrs["spatial:transform"][0] == 10 * factor
            assert float(level.x[0]) == float(fine.x[0]) + 5 * (factor - 1)
            assert level.landcover.shape == tuple(-(-n // factor) for n in fine.landcover.shape)
            if factor > 8:  # made of the level before it
                continue
            seen = np.argwhere(level.landcover.values)
            for row, column in (seen[0], seen[len(seen) // 2]):
                rows, columns = (slice(n * factor, (n + 1) * factor) for n in (row, column))
                square = fine.landcover.values[rows, columns]
                values, counts = np.unique(square[square != 0], return_counts=True)
                assert level.landcover.values[row, column] in values[counts == counts.max()]


def test_coverage_tells_which_tiles_are_there(mapped: Path) -> None:
    coverage = xarray.open_zarr(mapped, group=ZONE).coverage
    assert coverage.attrs["flag_meanings"].split()[int(coverage.values.max())] == "mapped"
    assert (coverage.values == 1).all()


def test_flips_and_probabilities_are_part_of_what_a_map_is(
    learned: Any, mapped: Path, tmp_path: Path, dfc2020: Legend
) -> None:
    out = tmp_path / "map.zarr"
    inference = Inference(has_flips=True, has_probabilities=True)
    make_map(learned.cube, learned.model, out, Machines(), inference=inference)
    group = xarray.open_zarr(out, group=f"{ZONE}/r10m", mask_and_scale=False)
    probability, seen = group.probability.values, group.landcover.values != 0
    assert len(probability) == len(dfc2020.classes)
    assert np.array_equal(probability.max(0)[seen], group.confidence.values[seen])
    total = probability.astype(int).sum(0)[seen]
    assert (abs(total - 200) <= len(dfc2020.classes)).all()
    assert (probability[:, ~seen] == 255).all()
    assert not np.array_equal(pixels(out)[1], pixels(mapped)[1])
    with pytest.raises(PlanConflictError, match="inference"):
        make_map(learned.cube, learned.model, out, Machines())
    assert verify(out) > 0
    assert resume(out, Machines()).now == 0


def test_a_gpu_that_is_not_there_is_refused(learned: Any, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InvalidInputError, match="--gpu: torch finds no GPU"):
        make_map(
            learned.cube, learned.model, tmp_path / "m.zarr", Machines(),
            inference=Inference(has_gpu=True),
        )  # fmt: skip
    assert not (tmp_path / "m.zarr").exists()


def test_more_workers_than_gpus_are_refused(
    learned: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InvalidInputError, match=r"^--gpu: .* has 1; give --workers 1$"):
        make_map(
            learned.cube, learned.model, tmp_path / "m.zarr", Machines(executor="dask", workers=2),
            inference=Inference(has_gpu=True),
        )  # fmt: skip
    assert not (tmp_path / "m.zarr").exists()


@pytest.mark.cluster
@pytest.mark.filterwarnings("default")
def test_a_ray_cluster_without_a_gpu_is_refused(learned: Any, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InvalidInputError, match="--gpu: the Ray cluster has no GPU"):
        make_map(
            learned.cube, learned.model, tmp_path / "m.zarr", Machines(executor="ray_tasks"),
            inference=Inference(has_gpu=True),
        )  # fmt: skip


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
    spec = NetworkSpec.model_validate(bundle.network)
    scaled = spec.replace(bands=[band.replace(mean=0.0) for band in spec.bands])
    other = bundle.replace(network=scaled.model_dump(mode="json"))
    write_bundle(tmp_path / "scaled", other, weights)
    with pytest.raises(PlanConflictError, match="network is"):
        make_map(learned.cube, tmp_path / "scaled", mapped, Machines())


def test_a_cube_without_a_sensor_is_mapped_by_a_model_that_learned_to_do_without(
    world: Any, learned: Any, tiny_study: Study, tmp_path: Path
) -> None:
    withheld = {"settings": {"withhold": {"sensor": 0.4}}}
    study = tiny_study.replace(
        has_masks=True, finetune={**tiny_study.finetune.model_dump(), **withheld}
    )
    request = FinetuneRequest(imagery=(learned.cube,), labels=(learned.labels,), study=study)
    finetune(request, tmp_path / "model", Ranks())
    make_map(learned.cube, tmp_path / "model", tmp_path / "map.zarr", Machines())
    both = pixels(tmp_path / "map.zarr")
    for sensor, array, lacked in (
        ("sentinel2_l2a", "s2", "sentinel1_rtc:VV"),
        ("sentinel1_rtc", "s1", "sentinel2_l2a:B02"),
    ):
        cube = tmp_path / f"{sensor}.zarr"
        ingest(world.request(sensors=[sensor], tile_px=512), cube, Machines())
        make_map(cube, tmp_path / "model", tmp_path / f"map-{sensor}.zarr", Machines())
        found = pixels(tmp_path / f"map-{sensor}.zarr")
        stored = xarray.open_zarr(cube, group=f"{ZONE}/r10m", mask_and_scale=False)[array]
        seen = (stored.values != stored.attrs["_FillValue"]).any((0, 1))
        assert (found[0][seen] != 0).all()
        # It looks at the other sensor where there is one.
        assert not np.array_equal(found[1], both[1])
        with pytest.raises(InvalidInputError, match=f"lacks the bands {lacked}"):
            make_map(cube, learned.model, tmp_path / "refused.zarr", Machines())
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
