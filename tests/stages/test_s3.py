"""The story on object storage: the same arrays as on a disk, resumed, verified, repaired."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray
from rasterio.io import MemoryFile

from sscl_geo.cli.upkeep import repair
from sscl_geo.errors import HolesError, InvalidInputError
from sscl_geo.geo.legend import Legend
from sscl_geo.io.location import AnyLocation, Location, local_path, location
from sscl_geo.learn.study import Study
from sscl_geo.runtime.gang import Ranks
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.evaluate import evaluate
from sscl_geo.stages.finetune import FinetuneRequest, finetune
from sscl_geo.stages.ingest import IngestRequest, ingest
from sscl_geo.stages.labels import LabelsRequest, make_labels
from sscl_geo.stages.map import make_map
from sscl_geo.stages.report import ReportRequest, make_report
from sscl_geo.stages.upkeep import status, verify

Content = Callable[[AnyLocation], dict[str, bytes]]


@pytest.fixture(scope="module")
def request_and_cube(
    world: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[IngestRequest, Path]:
    request = world.request(
        sensors=("sentinel2_l2a",), datetime="2024-05-01/2024-06-30", period="P1M"
    )
    out = tmp_path_factory.mktemp("disk") / "cube.zarr"
    ingest(request, out, Machines())
    return request, out


@pytest.fixture(scope="module")
def cube(request_and_cube: tuple[IngestRequest, Path], s3: str) -> Location:
    out = location(f"{s3}/story/cube.zarr")
    ingest(request_and_cube[0], out, Machines())
    return out


def test_a_cube_in_a_bucket_has_the_same_bytes_as_on_a_disk(
    request_and_cube: tuple[IngestRequest, Path], cube: Location, content: Content
) -> None:
    request, on_disk = request_and_cube
    assert content(cube) == content(on_disk)
    assert not [name for name, data in content(cube).items() if b"a-secret-of-the-tests" in data]
    assert ingest(request, cube, Machines()).now == 0
    assert status(cube).counts == status(on_disk).counts
    with xarray.open_zarr(cube.zarr_store(), group="epsg32633/r10m") as group:
        assert np.isfinite(group.s2.values).any()


def test_damage_is_found_and_repaired(
    request_and_cube: tuple[IngestRequest, Path], cube: Location, content: Content
) -> None:
    assert verify(cube) > 0
    shard = next(name for name in cube.names() if "/s2/c/" in name)
    (cube / shard).delete()
    with pytest.raises(HolesError, match="no longer those that were written"):
        verify(cube)
    assert status(cube).counts["failed"] == 1
    repair(str(cube), executor="dask")
    assert status(cube).counts["failed"] == 0
    assert content(cube) == content(request_and_cube[1])


def test_labels_training_map_and_report_work_in_buckets_as_on_disks(  # noqa: PLR0917 - fixtures
    world: Any,
    request_and_cube: tuple[IngestRequest, Path],
    cube: Location,
    dfc2020: Legend,
    tiny_study: Study,
    tmp_path: Path,
    content: Content,
) -> None:
    labels, mapped, model = (
        cube.with_name("labels.zarr"),
        cube.with_name("map.zarr"),
        tmp_path / "m",
    )
    on_disk = tmp_path / "map.zarr"
    make_labels(LabelsRequest(cube=cube, source=world.truth, legend=dfc2020), labels)
    learning = FinetuneRequest(imagery=(cube,), labels=(labels,), study=tiny_study)
    finetune(learning, model, Ranks())
    make_map(cube, model, mapped, Machines())
    make_map(request_and_cube[1], model, on_disk, Machines())
    told = {"sources.json"}
    mine = {name: data for name, data in content(mapped).items() if name not in told}
    assert mine == {name: data for name, data in content(on_disk).items() if name not in told}
    with (
        MemoryFile(mapped.with_name("map.tif").read_bytes()) as memory,
        memory.open() as file,
        rasterio.open(tmp_path / "map.tif") as beside,
    ):
        assert np.array_equal(file.read(1), beside.read(1))
        assert file.colormap(1) == beside.colormap(1)
    assert verify(mapped) > 0
    assert evaluate(mapped, labels) == evaluate(on_disk, labels)
    request = ReportRequest(
        title="In a bucket", cube=cube, maps=(("ours", mapped),), reference=labels, model=model
    )
    assert "In a bucket" in make_report(request, tmp_path / "report").read_text()


def test_a_map_is_not_put_over_a_file_that_stands_there(cube: Location, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"must end in \.zarr"):
        make_map(cube, tmp_path, cube.with_name("map"), Machines())
    with pytest.raises(InvalidInputError, match="is kept on a disk"):
        local_path(str(cube), "a model bundle")
