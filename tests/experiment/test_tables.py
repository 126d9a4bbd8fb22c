"""Tables: paired differences against SciPy, and settings merged as trees."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sscl_geo.errors import InvalidInputError
from sscl_geo.experiment.matrix import Experiment, merged
from sscl_geo.experiment.run import cells
from sscl_geo.experiment.tables import difference, markdown
from sscl_geo.frozen import read_yaml
from sscl_geo.plugins import shipped

values = st.lists(st.floats(0, 100), min_size=8, max_size=8)


@given(values, values)
def test_the_interval_is_that_of_a_paired_t_test(one: list[float], other: list[float]) -> None:
    found = difference(one, other)
    gaps = np.subtract(one, other)
    assert np.isclose(found.mean, gaps.mean())
    if gaps.std() > 1e-9:
        low, high = stats.ttest_rel(one, other).confidence_interval(0.9)
        assert np.allclose((found.low, found.high), (low, high))


def test_settings_change_where_they_are_named_and_lists_are_replaced() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 3}
    assert merged(base, {"a": {"c": [5]}, "e": 4}) == {"a": {"b": 1, "c": [5]}, "d": 3, "e": 4}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 3}


SHIPPED = sorted((shipped("workflows/experiments")).glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_experiment_is_one(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = read_yaml(Experiment, path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resnet50-0676ba61.pth").write_bytes(b"weights")
    for name in experiment.systems:
        experiment.study_of(name)
        assert experiment.version(name)


def test_what_is_kept_of_worldcover_is_of_the_experiment_as_it_is() -> None:
    experiment = read_yaml(Experiment, shipped("workflows/experiments") / "worldcover.yaml")
    ledger = Path(__file__).parents[2] / "benchmarks" / "worldcover" / "ledger.jsonl"
    kept = [json.loads(line)["key"] for line in ledger.read_text().splitlines()]
    assert kept
    assert set(kept) <= {unit.key for unit in cells(experiment)}


def test_a_cell_knows_the_weights_that_its_init_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter = read_yaml(Experiment, shipped("workflows/experiments") / "dfc2020.yaml")
    named = [n for n in letter.systems if letter.study_of(n).init.name == "imagenet"]
    assert named
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(InvalidInputError, match=r"resnet50-0676ba61\.pth: no such file"):
        letter.version(named[0])
    versions = set()
    for content in (b"one", b"two"):
        (tmp_path / "resnet50-0676ba61.pth").write_bytes(content)
        versions.add(letter.version(named[0]))
    assert len(versions) == 2


@pytest.mark.parametrize(
    ("system", "cause"),
    [
        ({"of": "random"}, "random is not pretrained, so there is no encoder"),
        ({"of": "sscl", "study": {"pretexts": [{"name": "core"}]}}, "leave out its pretexts"),
    ],
)
def test_an_encoder_that_is_none_or_not_used_is_refused(
    system: dict[str, object], cause: str
) -> None:
    smoke = read_yaml(Experiment, shipped("workflows/experiments") / "smoke.yaml")
    systems = {**smoke.model_dump()["systems"], "wrong": system}
    with pytest.raises(InvalidInputError, match=cause):
        smoke.replace(systems=systems)


def test_a_part_whose_lender_is_published_has_tables() -> None:
    letter = read_yaml(Experiment, shipped("workflows/experiments") / "dfc2020.yaml")
    told = markdown(letter.part(["sscl_linear"]), {}, {})
    beside = told.split("## Table I:")[1].split("##")[0]
    assert "| sscl_linear |" in beside
    assert "24.5" in beside
    assert "| sscl |" not in beside


def test_published_numbers_that_no_table_shows_are_refused() -> None:
    letter = read_yaml(Experiment, shipped("workflows/experiments") / "dfc2020.yaml")
    with pytest.raises(InvalidInputError, match=r"`published` of core, .* is shown by no table"):
        letter.replace(tables=letter.tables[:4])
    with pytest.raises(InvalidInputError, match="unknown systems nobody"):
        letter.replace(tables=(letter.tables[0].replace(systems=("nobody",)),))


def test_the_letter_s_tables_are_whole() -> None:
    letter = read_yaml(Experiment, shipped("workflows/experiments") / "dfc2020.yaml")
    told = [
        aa[0] if isinstance(aa := s.published["AA"], tuple) else aa
        for s in letter.systems.values()
        if "AA" in s.published
    ]
    tables = [35.1, 30.9, 29.2, 41.6, 64.2, 65.0, 63.5, 68.3, 57.0, 60.1]
    tables += [61.7, 59.7, 54.8, 59.5, 55.9, 67.6, 56.3, 67.4, 68.3, 69.4]
    assert sorted(told) == sorted(tables)
