"""Every row of the letter's tables runs as it stands in its file, with small nets and few steps."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
import yaml
from affine import Affine

from sscl_geo.experiment.matrix import Experiment
from sscl_geo.experiment.run import run_experiment
from sscl_geo.frozen import read_yaml
from sscl_geo.geo.legend import Legend
from sscl_geo.io.chips import write_chips
from sscl_geo.io.chipsets import sen12ms
from sscl_geo.plugins import shipped
from sscl_geo.runtime.work import Machines
from sscl_geo.stages.despeckle import despeckle_chips

SIDE = 32
PARTS = {"0": 4, "validation": 1}
CLASSES = (1, 2, 4, 5, 6, 7, 9, 10)


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", "GTiff", SIDE, SIDE, len(pixels), "EPSG:32633", Affine(10, 0, 0, 0, -10, 0),
        pixels.dtype,
    ) as file:  # fmt: skip
        file.write(pixels)


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chips of both sensors in the contest's layout, each of squares of eight classes."""
    folder, random = tmp_path_factory.mktemp("dfc2020"), np.random.default_rng(0)
    optical, radar = random.integers(300, 4000, (13, 8)), random.uniform(-22, -5, (2, 8))
    for part, count in PARTS.items():
        for number in range(count):
            squares = random.integers(0, 8, (8, 8)).repeat(4, 0).repeat(4, 1)
            speckle = 10 * np.log10(random.gamma(4.4, 1 / 4.4, (2, SIDE, SIDE)))
            files = {
                "s2": (optical[:, squares] + random.normal(0, 60, (13, SIDE, SIDE))).clip(1),
                "s1": radar[:, squares] + speckle,
                "dfc": np.array(CLASSES)[squares][None],
            }
            for kind, dtype in (("s2", np.uint16), ("s1", np.float32), ("dfc", np.uint8)):
                name = f"ROIs0000_test_{kind}_{part}_p{number}.tif"
                path = folder / "ROIs0000_test" / f"{kind}_{part}" / name
                write(path, files[kind].astype(dtype))
    legend = read_yaml(Legend, shipped("catalogs") / "legends" / "dfc2020.yaml")
    write_chips(sen12ms.chip_source(folder, legend), folder / "rough.zarr")
    despeckle_chips(folder / "rough.zarr", folder / "chips.zarr", "sarbm3d", 4.4)
    return folder / "chips.zarr"


def small(settings: Any) -> Any:
    """Return settings with few steps on small patches, and small networks."""
    if isinstance(settings, list):
        return [small(one) for one in settings]
    if not isinstance(settings, dict):
        return settings
    few = {"epochs": 1, "steps": 2, "batch": 4, "patch": 32, "precision": "float32"}
    thin = {"depth": 18, "width": 4, "rates": [1, 2], "context_width": 8}
    made = {name: small(value) for name, value in settings.items()}
    if "epochs" in made:
        made |= {name: few[name] for name in few.keys() & made.keys()}
    if made.get("layers"):
        made |= {"layers": 1, "width": 2}
    if "backbone" in made:
        made["backbone"] |= {name: thin[name] for name in thin.keys() & made["backbone"].keys()}
    return made


@pytest.fixture(scope="module")
def letter(
    with_torchvision: Callable[[str], ModuleType], tmp_path_factory: pytest.TempPathFactory
) -> Experiment:
    fields = yaml.safe_load((shipped("workflows/experiments") / "dfc2020.yaml").read_text())
    weights = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.manual_seed(0)
    torch.save(with_torchvision("torchvision.models").resnet18().state_dict(), weights)
    made = small(fields) | {"labels": [4], "seeds": 1, "encoder_seeds": 1}
    for system in made["systems"].values():
        if "labels" in system:
            system["labels"] = [4]
    for name in ("imagenet", "imagenet_linear"):
        study = made["systems"][name]["study"]
        study["init"]["settings"]["weights"] = str(weights)
        # Its weights are of one width.
        study["backbone"] = {"width": 64}
    path = tmp_path_factory.mktemp("matrix") / "dfc2020.yaml"
    path.write_text(yaml.safe_dump(made, sort_keys=False))
    return read_yaml(Experiment, path)


def test_every_row_of_the_letter_s_tables_is_run_and_told_beside_its_numbers(
    chips: Path, letter: Experiment, tmp_path: Path
) -> None:
    run_experiment(letter, chips, tmp_path / "out", Machines())
    rows = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [row["key"] for row in rows] == [f"{name}/4/0" for name in letter.systems]
    tables = (tmp_path / "out" / "results.md").read_text()
    for table in letter.tables:
        beside = tables.split(f"## {table.title}\n")[1].split("##")[0]
        for name in table.systems:
            told = [line for line in beside.splitlines() if line.startswith(f"| {name} |")]
            assert len(told) == (2 if table.by_class else 1)
            cells = [cell.strip() for cell in told[0].split("|")[2:-1]]
            for number, metric in enumerate(table.metrics):
                value = letter.systems[name].published.get(metric, "")
                if isinstance(value, tuple):
                    value = f"{value[0]:.1f} ± {value[1]:.1f}"
                assert cells[2 * number + 1] == str(value)
    in_tables = {name for table in letter.tables for name in table.systems}
    assert {name for name, system in letter.systems.items() if system.published} <= in_tables
    second = next(table for table in letter.tables if table.by_class)
    recalls = {row["key"]: row["scores"]["recall"] for row in rows}
    known = [100 * recall for recall in recalls["forest/4/0"] if recall is not None]
    line = tables.split(f"## {second.title}\n")[1].split("| forest | 4 |")[1].splitlines()[0]
    assert [float(one) for one in line.split("|") if one.strip()] == pytest.approx(known, abs=0.06)
    # Of eight classes that are told apart by their mean, a forest knows some from four chips.
    oa = {row["key"].split("/")[0]: row["scores"]["oa"] for row in rows}
    assert oa["forest_context"] > 0.5
