"""The debiased loss against a literal loop."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.learn.debiased import DebiasedSpec, debiased_loss


def literal(first: torch.Tensor, second: torch.Tensor, spec: DebiasedSpec) -> float:
    vectors = torch.nn.functional.normalize(torch.cat([first, second]), dim=1).tolist()
    count, total = len(first), 0.0
    for i, anchor in enumerate(vectors):
        partner = (i + count) % (2 * count)

        def similar(j: int, anchor: list[float] = anchor) -> float:
            dot = sum(a * b for a, b in zip(anchor, vectors[j], strict=True))
            return math.exp(dot / spec.temperature)

        negatives = [similar(j) for j in range(2 * count) if j not in (i, partner)]
        weights = [n**spec.hardness for n in negatives]
        mean = sum(weights) / len(weights)
        reweighted = sum(w * n for w, n in zip(weights, negatives, strict=True)) / mean
        positive = similar(partner)
        corrected = (reweighted - spec.same_class * len(negatives) * positive) / (
            1 - spec.same_class
        )
        corrected = max(corrected, len(negatives) * math.exp(-1 / spec.temperature))
        total -= math.log(positive / (positive + corrected))
    return total / len(vectors)


@given(
    st.integers(0, 1000),
    st.sampled_from([DebiasedSpec(), DebiasedSpec(same_class=0, hardness=0, temperature=0.2)]),
)
def test_the_loss_is_its_formula(seed: int, spec: DebiasedSpec) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(5, 3, generator=generator) for _ in "ab")
    assert float(debiased_loss(first, second, spec)) == pytest.approx(
        literal(first, second, spec), rel=1e-4
    )


def test_of_one_thing_there_is_nothing_to_tell_apart() -> None:
    one = torch.ones(1, 3, requires_grad=True)
    loss = debiased_loss(one, one, DebiasedSpec())
    assert float(loss.detach()) == 0
    assert torch.equal(torch.autograd.grad(loss, one)[0], torch.zeros(1, 3))
