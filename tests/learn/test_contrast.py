"""The loss of UniFeat: against loops, against another library, and over ranks."""

import math
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from sscl_geo import plugins
from sscl_geo.geo.inputs import BandInput
from sscl_geo.learn import contrast
from sscl_geo.learn.batches import IGNORED, Batch
from sscl_geo.learn.checkpoint import from_bytes, to_bytes
from sscl_geo.learn.contrast import ContrastSpec, contrastive_loss
from sscl_geo.learn.fit import Rank
from sscl_geo.learn.gather import check_alike
from sscl_geo.learn.network import Encoder, Segmenter
from sscl_geo.learn.pretext import core, simsiam, unifeat
from sscl_geo.learn.spec import BackboneSpec, FeatureSpec, NetworkSpec
from sscl_geo.learn.supervised import Finetune, FinetuneSettings, JitterSpec, LossSpec, WithholdSpec
from sscl_geo.runtime.gang import Ranks

# Ray's workers cannot import this file, so its functions travel whole.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def embeddings(seed: int, locations: int, samples: int, dim: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (locations, samples, dim)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def literal(a: Tensor, b: Tensor, valid: Tensor, spec: ContrastSpec) -> float:
    """The letter's equation as loops over locations, anchors and negatives."""
    a, b = (x / x.norm(dim=-1, keepdim=True) for x in (a, b))
    directions = [(a, b), (b, a)] if spec.symmetric else [(a, b)]
    losses = []
    for anchors, others in directions:
        for p in range(a.shape[0]):
            seen = [k for k in range(a.shape[1]) if valid[p, k]]
            if len(seen) < 2:
                continue
            for k in seen:
                positive = float(anchors[p, k] @ others[p, k]) / spec.temperature
                total = math.exp(positive) if spec.positive_in_denominator else 0.0
                for q, other in negatives(valid, p, k, spec.spatial):
                    for keys in (anchors, others):
                        total += math.exp(float(anchors[p, k] @ keys[q, other]) / spec.temperature)
                losses.append(math.log(total) - positive)
    return sum(losses) / max(len(losses), 1)


def negatives(valid: Tensor, p: int, k: int, spatial: int) -> Iterator[tuple[int, int]]:
    """Yield locations and patches that push patch k at location p."""
    locations, samples = valid.shape
    for turn in range(spatial + 1):
        q = (p + turn) % locations
        yield from ((q, n) for n in range(samples) if valid[q, n] and (turn or n != k))


SPECS = st.builds(
    ContrastSpec,
    temperature=st.just(0.3),
    positive_in_denominator=st.booleans(),
    symmetric=st.booleans(),
    spatial=st.integers(0, 2),
    chunk=st.integers(1, 4),
)


@given(seed=st.integers(0, 10_000), samples=st.integers(2, 5), spec=SPECS, data=st.data())
def test_the_loss_is_the_letters_equation_for_any_mask(
    seed: int, samples: int, spec: ContrastSpec, data: st.DataObject
) -> None:
    a, b = embeddings(seed, 3, samples)
    flags = data.draw(st.lists(st.booleans(), min_size=3 * samples, max_size=3 * samples))
    valid = torch.tensor(flags).reshape(3, samples)
    found = float(contrastive_loss(a, b, valid, spec))
    assert found == pytest.approx(literal(a, b, valid, spec), abs=1e-5)


@pytest.mark.parametrize("has_positive", [False, True])
def test_the_loss_is_that_of_lightly(
    with_torchvision: Callable[[str], ModuleType], has_positive: bool
) -> None:
    losses = with_torchvision("lightly.loss")
    a, b = embeddings(0, 4, 6)
    theirs = (losses.NTXentLoss if has_positive else losses.DCLLoss)(temperature=0.2)
    expected = torch.stack([theirs(a[p], b[p]) for p in range(4)]).mean()
    spec = ContrastSpec(temperature=0.2, positive_in_denominator=has_positive, symmetric=True)
    found = contrastive_loss(a, b, torch.ones(4, 6, dtype=torch.bool), spec)
    assert float(found) == pytest.approx(float(expected), abs=1e-5)


def test_swapping_the_two_bands_changes_nothing() -> None:
    a, b = embeddings(1, 4, 6)
    valid = torch.ones(4, 6, dtype=torch.bool)
    spec = ContrastSpec()
    one, other = contrastive_loss(a, b, valid, spec), contrastive_loss(b, a, valid, spec)
    assert float(one) == pytest.approx(float(other), abs=1e-6)


def test_masked_samples_never_matter() -> None:
    a, b = embeddings(2, 3, 4)
    valid = torch.ones(3, 4, dtype=torch.bool)
    valid[:, 1] = False
    before = contrastive_loss(a, b, valid, ContrastSpec())
    a[:, 1], b[:, 1] = 1e3, -7.0
    assert float(contrastive_loss(a, b, valid, ContrastSpec())) == float(before)


def test_of_few_locations_all_others_follow() -> None:
    a, b = embeddings(4, 2, 3)
    valid = torch.ones(2, 3, dtype=torch.bool)
    found = [contrastive_loss(a, b, valid, ContrastSpec(spatial=count)) for count in (1, 9)]
    assert float(found[0]) == float(found[1])


SPREAD = ContrastSpec(temperature=0.2, spatial=1)


def _gradient(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    valid = torch.ones(a.shape[:2], dtype=torch.bool)
    valid[0, 0] = False
    loss = contrastive_loss(a @ weight, b @ weight, valid, SPREAD)
    return torch.autograd.grad(loss, weight)[0]


class _OwnSlice(torch.autograd.Function):
    """The common shortcut: gather, but keep a rank's own part of the gradient only."""

    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        ctx.samples = local.shape[1]
        parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, local.contiguous())
        return torch.cat(parts, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        start = dist.get_rank() * ctx.samples
        return gradient[:, start : start + ctx.samples]


def _rank(rank: int, world: int, port: int, folder: str, is_summed: bool) -> None:
    if not is_summed:
        vars(contrast)["gather_samples"] = _OwnSlice.apply
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=world)
    a, b = embeddings(3, 5, 4 * world)
    valid = torch.ones(5, 4 * world, dtype=torch.bool)
    valid[0, 0] = False
    mine = slice(4 * rank, 4 * rank + 4)
    weight = torch.eye(5).mul(0.7).requires_grad_()
    # In three chunks, where one process has one.
    spec = SPREAD.replace(chunk=2)
    loss = contrastive_loss(a[:, mine] @ weight, b[:, mine] @ weight, valid[:, mine], spec)
    gradient = torch.autograd.grad(loss, weight)[0]
    dist.all_reduce(gradient)
    if rank == 0:
        torch.save(gradient / world, Path(folder) / "gradient.pt")
    check_alike(torch.arange(5), weight.device)
    # The same numbers in another order are others, and all ranks hear of it.
    with pytest.raises(RuntimeError, match="ranks drew other bands or locations"):
        check_alike(torch.tensor([1, 2] if rank else [2, 1]), weight.device)
    given = Batch({"a": torch.randint(1, 99, (2, 2, 16, 16))}, None)
    with pytest.raises(RuntimeError, match="ranks drew other bands or locations"):
        _task()(given, torch.Generator().manual_seed(rank))
    dist.destroy_process_group()


def relative_error(world: int, folder: Path, *, is_summed: bool) -> float:
    """Return how far the mean gradient of ranks is from that of one process."""
    a, b = embeddings(3, 5, 4 * world)
    weight = torch.eye(5).mul(0.7).requires_grad_()
    expected = _gradient(a, b, weight)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spawn(_rank, args=(world, port, str(folder), is_summed), nprocs=world)  # type: ignore[no-untyped-call]
    found = torch.load(folder / "gradient.pt", weights_only=True)
    return float((found - expected).norm() / expected.norm())


@pytest.mark.cluster
@pytest.mark.parametrize("world", [2, 4])
def test_ranks_have_the_gradient_of_one_process(tmp_path: Path, world: int) -> None:
    assert relative_error(world, tmp_path, is_summed=True) < 1e-5


@pytest.mark.cluster
def test_a_gather_that_does_not_sum_has_another_gradient(tmp_path: Path) -> None:
    assert relative_error(2, tmp_path, is_summed=False) > 0.05


def _spec() -> NetworkSpec:
    numbers = {"array": "a", "gsd": 10, "nodata": 0, "low": 0, "high": 99, "mean": 50, "spread": 20}
    bands = [
        BandInput.model_validate({"name": f"sentinel2_l2a:{n}", **numbers}) for n in ("B02", "B11")
    ]
    backbone = BackboneSpec(name="dilated", width=8, rates=(1,), context_width=8)
    return NetworkSpec(
        bands=tuple(bands), features=FeatureSpec(layers=2, width=4), backbone=backbone
    )


def _task() -> unifeat.UniFeat:
    """UniFeat of two bands, with the statistics of no batch, which ranks would not share."""
    torch.manual_seed(0)
    return unifeat.build(Encoder(_spec()), unifeat.Settings(dim=8, locations=64)).eval()


def _core() -> nn.Module:
    torch.manual_seed(0)
    return core.build(Encoder(_spec()), core.Settings()).eval()


def _simsiam() -> nn.Module:
    torch.manual_seed(0)
    return simsiam.build(Encoder(_spec()), simsiam.Settings(width=8, hidden=4)).eval()


def _finetune() -> Finetune:
    """Finetuning with weighted classes and all chance, with the statistics of no batch."""
    torch.manual_seed(0)
    settings = FinetuneSettings(
        loss=LossSpec(frequency=0.5),
        jitter=JitterSpec(gain=0.2, shift=0.2),
        withhold=WithholdSpec(band=0.3),
    )
    return Finetune(Segmenter(_spec(), 3), settings, torch.tensor([0.6, 0.3, 0.1])).eval()


def _learn_once(rank: Rank) -> None:
    """Keep the gradient of the weights for this rank's part of eight samples, one half unseen."""
    stored = torch.randint(1, 99, (8, 2, 16, 16), generator=torch.Generator().manual_seed(4))
    stored[0, :, :8] = 0
    share = 8 // rank.world
    mine = slice(rank.rank * share, (rank.rank + 1) * share)
    # One pixel of the first half has a label, and all of the second.
    labels = torch.full((8, 16, 16), IGNORED)
    labels[:4, 3, 3] = 0
    labels[4:] = torch.randint(0, 3, (4, 16, 16), generator=torch.Generator().manual_seed(6))
    gradients = {}
    tasks = {"unifeat": _task(), "core": _core(), "simsiam": _simsiam(), "finetune": _finetune()}
    for name, task in tasks.items():
        wrapped = rank.wrap(task)  # must live until the gradients are averaged
        given = Batch({"a": stored[mine]}, labels[mine] if name == "finetune" else None)
        torch.autograd.backward(wrapped(given, torch.Generator().manual_seed(5)))
        parts = [p.grad.flatten() for p in task.parameters() if p.grad is not None]
        gradients[name] = torch.cat(parts)
        if isinstance(task, unifeat.UniFeat | core.CoRe):
            told = task.measured.means()
            # Embeddings are compared among a rank's own samples.
            shared = [name for name in told if "error" in name or "negatives" in name]
            gradients[f"what {name} measured"] = torch.tensor([told[name] for name in shared])
    rank.report({"phase": "unifeat", "epoch": 1}, lambda: to_bytes({"gradients": gradients}))


@pytest.mark.cluster
@pytest.mark.filterwarnings("default")
def test_ray_ranks_have_the_gradient_of_one_process(tmp_path: Path) -> None:
    kept: list[Any] = []
    for ranks in (Ranks(), Ranks(ranks=2), Ranks(ranks=4)):
        gang = plugins.find("sscl_geo.runtime.gangs", ranks.gang)
        state = from_bytes(gang.run(_learn_once, tmp_path / ranks.gang / "run", ranks))
        kept.append(state["gradients"])
    for name, expected in kept[0].items():
        for found in kept[1:]:
            assert (found[name] - expected).norm() < 1e-5 * expected.norm(), name


@given(st.integers(1, 7), st.booleans(), st.booleans())
def test_chunks_of_locations_change_nothing(
    chunk: int, has_positive: bool, symmetric: bool
) -> None:
    a, b = embeddings(4, 5, 6)
    valid = torch.ones(5, 6, dtype=torch.bool)
    valid[0, 1] = valid[3, :5] = False
    weight = torch.eye(5).mul(0.7).requires_grad_()
    found = []
    for size in (1024, chunk):
        spec = ContrastSpec(positive_in_denominator=has_positive, symmetric=symmetric, chunk=size)
        loss = contrastive_loss(a @ weight, b @ weight, valid, spec)
        found.append((loss.detach(), torch.autograd.grad(loss, weight)[0]))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-6)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6)
