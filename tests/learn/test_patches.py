"""Patches: drawn alike by any number of ranks, and never from outside."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.errors import InvalidInputError
from sscl_geo.geo.inputs import BandInput
from sscl_geo.learn.batches import IGNORED, Field
from sscl_geo.learn.patches import DrawSpec, Patches
from sscl_geo.learn.spec import NetworkSpec

CPU = torch.device("cpu")
FINE = {
    "array": "r10m/s2",
    "gsd": 10,
    "nodata": 0,
    "low": 0.0,
    "high": 1.0,
    "mean": 0.0,
    "spread": 1.0,
}
SPEC = NetworkSpec(
    bands=(
        BandInput(name="s:A", **FINE),
        BandInput(name="s:B", **{**FINE, "array": "r20m/s2", "gsd": 20}),
    )
)


def field(height: int, width: int, *, labelled: bool = False, first: int = 1) -> Field:
    """A field whose numbers tell where they are; the coarse band tells the same place."""
    place = first + np.arange(height * width, dtype=np.int64).reshape(height, width)
    labels = None
    if labelled:
        labels = np.full((height, width), IGNORED, np.uint8)
        labels[height // 2, width // 2] = 3
        labels[0, 0] = 1
    fine = place.astype(np.uint16)
    return Field({"r10m/s2": fine[None], "r20m/s2": fine[None, ::2, ::2]}, labels)


@given(
    step=st.integers(0, 1000),
    seed=st.integers(0, 100),
    world=st.sampled_from([1, 2, 4]),
    height=st.integers(8, 20),
)
def test_ranks_together_draw_what_one_process_draws(
    step: int, seed: int, world: int, height: int
) -> None:
    patches = Patches((field(2 * height, 24),), SPEC, DrawSpec(8, 4, seed, "area"))
    alone = patches.batch(step, 0, 1, CPU).stored["r10m/s2"]
    parts = [patches.batch(step, rank, world, CPU).stored["r10m/s2"] for rank in range(world)]
    assert torch.equal(torch.cat(parts).int(), alone.int())


@given(step=st.integers(0, 1000))
def test_coarse_and_fine_bands_show_the_same_place_however_they_are_turned(step: int) -> None:
    patches = Patches((field(20, 30),), SPEC, DrawSpec(8, 4, 0, "area"))
    stored = patches.batch(step, 0, 1, CPU).stored
    fine, coarse = stored["r10m/s2"].int(), stored["r20m/s2"].int()
    # The upper-left fine pixel of a coarse one is the smallest of its four.
    smallest = -torch.nn.functional.max_pool2d(-fine.float(), 2)
    assert torch.equal(smallest.int(), coarse)


def bare(height: int, width: int) -> Field:
    """A field whose labels hold none."""
    return field(height, width)._replace(labels=np.full((height, width), IGNORED, np.uint8))


@given(
    step=st.integers(0, 200),
    sampling=st.sampled_from(["pixels", "classes", "fields"]),
    height=st.integers(4, 10),
)
def test_every_labelled_patch_holds_a_label(step: int, sampling: str, height: int) -> None:
    fields = (field(2 * height, 30, labelled=True), bare(12, 12), field(12, 12))
    patches = Patches(fields, SPEC, DrawSpec(8, 4, 0, sampling))  # type: ignore[arg-type]
    labels = patches.batch(step, 0, 1, CPU).labels
    assert labels is not None
    assert (labels != IGNORED).flatten(1).any(1).all()


@given(step=st.integers(0, 200), sampling=st.sampled_from(["pixels", "classes", "fields"]))
def test_a_label_that_no_patch_reaches_is_not_drawn(step: int, sampling: str) -> None:
    fine = field(13, 14)
    labels = np.full((13, 14), IGNORED, np.uint8)
    labels[12], labels[3, 2] = 1, 2
    only_fine = NetworkSpec(bands=SPEC.bands[:1])
    source = Field({"r10m/s2": fine.arrays["r10m/s2"]}, labels)
    patches = Patches((source,), only_fine, DrawSpec(8, 4, 0, sampling))  # type: ignore[arg-type]
    drawn = patches.batch(step, 0, 1, CPU).labels
    assert drawn is not None
    assert (drawn == 2).flatten(1).any(1).all()


def test_fields_are_drawn_evenly_and_those_without_labels_never() -> None:
    sparse, dense = field(40, 40, labelled=True), field(40, 40)
    dense = dense._replace(labels=np.full((40, 40), 5, np.uint8))
    patches = Patches((bare(40, 40), sparse, dense), SPEC, DrawSpec(8, 256, 0, "fields"))
    labels = patches.batch(0, 0, 1, CPU).labels
    assert labels is not None
    is_dense = (labels == 5).flatten(1).all(1)
    assert (labels != IGNORED).flatten(1).any(1).all()
    assert 0.4 < float(is_dense.float().mean()) < 0.6


@pytest.mark.parametrize("sampling", ["pixels", "classes", "fields"])
def test_nothing_but_unlabelled_fields_is_refused_with_a_remedy(sampling: str) -> None:
    with pytest.raises(InvalidInputError, match=r"no field has labels.*more labels"):
        Patches((bare(20, 20), field(20, 20)), SPEC, DrawSpec(8, 4, 0, sampling))  # type: ignore[arg-type]


def test_balanced_sampling_draws_rare_classes_as_often() -> None:
    source = field(32, 32, labelled=True)
    assert source.labels is not None
    source.labels[20:, 20:] = 3
    patches = Patches((source,), SPEC, DrawSpec(4, 64, 0, "classes"))
    labels = patches.batch(0, 0, 1, CPU).labels
    assert labels is not None
    share = float((labels == 1).flatten(1).any(1).float().mean())
    assert 0.3 < share < 0.7


def test_ground_seen_by_coarse_bands_alone_is_drawn() -> None:
    coarse = NetworkSpec(bands=SPEC.bands[1:])
    source = field(40, 40)
    source = Field({"r20m/s2": source.arrays["r20m/s2"]}, None)
    source.arrays["r20m/s2"][:, :, :10] = 0
    patches = Patches((source,), coarse, DrawSpec(8, 32, 0, "area"))
    drawn = patches.batch(0, 0, 1, CPU).stored["r20m/s2"]
    assert ((drawn != 0).float().mean((1, 2, 3)) >= 0.5).all()


def test_unobserved_ground_is_not_drawn() -> None:
    source = field(40, 40)
    source.arrays["r10m/s2"][:, :, :20] = 0
    patches = Patches((source,), SPEC, DrawSpec(8, 32, 0, "area"))
    fine = patches.batch(0, 0, 1, CPU).stored["r10m/s2"]
    assert ((fine != 0).float().mean((1, 2, 3)) >= 0.5).all()


def test_a_patch_larger_than_every_field_is_refused_with_a_remedy() -> None:
    with pytest.raises(InvalidInputError, match="smaller patch"):
        Patches((field(12, 12),), SPEC, DrawSpec(16, 4, 0, "area"))


def test_a_batch_that_does_not_divide_by_the_ranks_is_refused() -> None:
    patches = Patches((field(20, 20),), SPEC, DrawSpec(8, 4, 0, "area"))
    with pytest.raises(InvalidInputError, match="3 ranks"):
        patches.batch(0, 0, 3, CPU)
