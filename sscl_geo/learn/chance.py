"""Chance of samples, which does not depend on how many ranks share a batch.

Every rank draws for the samples of all ranks, from a generator that is alike on all of them, and
takes what falls to its own: so several see together what one alone would, if they have equally many
samples, and do not take them in parts.
"""

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from sscl_geo.learn.gather import first_sample, world_size

LARGEST_SEED = 2**62


def uniform(generator: torch.Generator, samples: int, *shape: int) -> Float[Tensor, "sample ..."]:
    """Return numbers of 0 to 1, without 1, for a rank's samples."""
    return _own(torch.rand(_all(samples), *shape, generator=generator), samples)


def normal(generator: torch.Generator, samples: int, *shape: int) -> Float[Tensor, "sample ..."]:
    """Return standard normal numbers for a rank's samples."""
    return _own(torch.randn(_all(samples), *shape, generator=generator), samples)


def integers(
    generator: torch.Generator, low: int, high: int, samples: int, *shape: int
) -> Int64[Tensor, "sample ..."]:
    """Return integers of `low` to `high`, without it, for a rank's samples."""
    return _own(torch.randint(low, high, (_all(samples), *shape), generator=generator), samples)


def own(generator: torch.Generator) -> torch.Generator:
    """Return a generator of this rank, for what would be too much to draw for all of them."""
    if world_size() == 1:
        return generator
    (seed,) = integers(generator, 0, LARGEST_SEED, 1).tolist()
    return torch.Generator().manual_seed(seed)


def _all(samples: int) -> int:
    return samples * world_size()


def _own(drawn: Shaped[Tensor, "samples ..."], samples: int) -> Shaped[Tensor, "sample ..."]:
    first = first_sample(samples)
    return drawn[first : first + samples]
