"""What tells of a collapse: embeddings that are all one, all apart, or swapped."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.learn.contrast import ContrastSpec, contrastive_loss, negatives
from sscl_geo.learn.monitor import Measures, collapse


def means(first: torch.Tensor, second: torch.Tensor, valid: torch.Tensor) -> dict[str, float]:
    return Measures.of(collapse(first, second, valid)).means()


def test_embeddings_that_are_all_one_have_collapsed() -> None:
    same, valid = torch.ones(3, 5, 4), torch.ones(3, 5, dtype=torch.bool)
    found = means(same, same, valid)
    assert found["alignment"] == pytest.approx(1)
    assert found["pairwise_cosine"] == pytest.approx(1)
    assert found["uniformity"] == pytest.approx(0, abs=1e-5)


def test_embeddings_that_are_apart_find_their_own() -> None:
    apart, valid = torch.eye(4).expand(3, 4, 4), torch.ones(3, 4, dtype=torch.bool)
    found = means(2 * apart, apart, valid)
    expected = {"alignment": 1, "pairwise_cosine": 0, "uniformity": -4, "retrieval": 1}
    assert found == pytest.approx(expected, abs=1e-6)
    swapped = means(apart, apart.roll(1, 1), valid)
    assert swapped["alignment"] == swapped["retrieval"] == 0


@given(st.integers(0, 99))
def test_samples_that_were_not_seen_do_not_count(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, 3, 6, 4, generator=generator)
    valid = torch.rand(3, 6, generator=generator) < 0.6
    other = torch.randn(2, 3, 6, 4, generator=generator)
    c, d = (torch.where(valid[..., None], *pair) for pair in ((a, other[0]), (b, other[1])))
    assert means(a, b, valid) == pytest.approx(means(c, d, valid))
    of_loops = [
        float(torch.cosine_similarity(a[p, one], a[p, two], 0))
        for p in range(3)
        for one, two in itertools.permutations(range(6), 2)
        if valid[p, one] and valid[p, two]
    ]
    if of_loops:
        expected = sum(of_loops) / len(of_loops)
        assert means(a, b, valid)["pairwise_cosine"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("spatial", [0, 1])
def test_a_collapsed_loss_is_the_logarithm_of_the_number_of_negatives(spatial: int) -> None:
    spec = ContrastSpec(spatial=spatial)
    valid = torch.ones(3, 5, dtype=torch.bool)
    valid[0, :2] = valid[2, 1:] = False
    number = negatives(valid, spec)
    assert number.tolist() == ([4, 8, 0] if not spatial else [14, 10, 0])
    same = torch.ones(1, 5, 4)
    loss = contrastive_loss(same, same, valid[1:2], spec)
    assert float(loss) == pytest.approx(math.log(8), abs=1e-4)


def test_what_was_never_counted_is_not_told() -> None:
    one = Measures(("a", "b"), torch.tensor([3.0, 0.0]), torch.tensor([2.0, 0.0]))
    assert Measures().plus(one).plus(one).means() == {"a": 1.5}
    assert Measures().means() == {}
