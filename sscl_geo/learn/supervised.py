"""Finetuning: few labels, and what the unlabelled ground next to them can add."""

import copy
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.learn.batches import IGNORED, Batch
from sscl_geo.learn.chance import normal, own, uniform
from sscl_geo.learn.degradations import DegradationSpec, band_groups, degrade
from sscl_geo.learn.gather import share_of_ranks
from sscl_geo.learn.inputs import Normalised
from sscl_geo.learn.network import Segmenter

SMOOTHING = 1.0
"""Keeps the Dice loss of a class that a batch lacks finite."""


class JitterSpec(Frozen):
    """Radiometric augmentation: each sample's bands gain, shift and get noise, in z-scores.

    Attributes:
        gain: Standard deviation of the factor of each band.
        shift: Standard deviation of what is added to each band.
        noise: Standard deviation of what is added to each pixel of each band.
    """

    gain: float = Field(default=0.0, ge=0)
    shift: float = Field(default=0.0, ge=0)
    noise: float = Field(default=0.0, ge=0)


class LossSpec(Frozen):
    """What is minimised over labelled pixels; by default plain cross-entropy.

    Attributes:
        prior: Strength of logit adjustment: this times the log of a class's share of the labels is
            added to its logit in training (Menon et al. 2021, arXiv 2007.07314).
        frequency: A pixel counts by its class's share of the labels to minus this.
        dice: Weight of a soft Dice loss over the classes of the batch beside the cross-entropy
            (Milletari et al. 2016). A batch on several ranks, or in parts, has the mean of theirs,
            which is another loss than that of all.
        smoothing: Share of the target that is spread evenly over all classes.
    """

    prior: float = Field(default=0.0, ge=0)
    frequency: float = Field(default=0.0, ge=0)
    dice: float = Field(default=0.0, ge=0)
    smoothing: float = Field(default=0.0, ge=0, lt=1)


class WithholdSpec(Frozen):
    """Bands withheld in training, so that a cube without them still maps.

    Attributes:
        sensor: Chance that all bands of a sensor are withheld, for each sensor alike; one stays.
        band: Chance that single bands are withheld.
    """

    sensor: float = Field(default=0.0, ge=0, lt=1)
    band: float = Field(default=0.0, ge=0, lt=1)


class TeacherSpec(Frozen):
    """A mean teacher that labels unlabelled ground for a student who sees it damaged.

    Tarvainen and Valpola 2017 (arXiv 1703.01780); Sohn et al. 2020, FixMatch (arXiv 2001.07685);
    the strong view is CoRe's damage.

    Attributes:
        weight: Weight of the unlabelled loss; 0 does without a teacher.
        threshold: Probability from which the teacher's class counts.
        batch: Unlabelled samples per step over all ranks.
        degradation: How the student's view is damaged.
    """

    weight: float = Field(default=0.0, ge=0)
    threshold: float = Field(default=0.95, ge=0, lt=1)
    batch: int = Field(default=16, ge=1)
    degradation: DegradationSpec = DegradationSpec()


class FinetuneSettings(Frozen):
    """How labels are learned from.

    Attributes:
        protocol: `finetune` trains everything; `linear` only the last 1x1 convolution, on an
            encoder in inference mode whose batch statistics were measured anew.
        jitter: Augmentation of labelled patches.
        loss: What is minimised.
        withhold: Bands withheld in training; needs a network with masks.
        teacher: What unlabelled ground adds.
        average: Decay of the running average of the weights, which is then what maps; 0 keeps the
            last weights. A teacher needs one.
    """

    protocol: Literal["finetune", "linear"] = "finetune"
    jitter: JitterSpec = JitterSpec()
    loss: LossSpec = LossSpec()
    withhold: WithholdSpec = WithholdSpec()
    teacher: TeacherSpec = TeacherSpec()
    average: float = Field(default=0.0, ge=0, lt=1)

    def check(self, *, has_masks: bool) -> None:
        """Check that settings fit each other.

        Raises:
            InvalidInputError: They do not.
        """
        if self.teacher.weight and not self.average:
            raise InvalidInputError(
                "finetune: a teacher is the running average of the weights; set `average`, such as "
                "0.99"
            )
        if (self.withhold.sensor or self.withhold.band) and not has_masks:
            raise InvalidInputError(
                "finetune: bands can be withheld only from a network with masks; set `has_masks`"
            )


class Finetune(nn.Module):
    """The supervised task.

    Args:
        segmenter: The network to train.
        settings: How.
        shares: Share of each class among the labels, which losses may weigh by.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        settings: FinetuneSettings,
        shares: Float[Tensor, " class"],
    ) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.settings = settings
        self.average = _copied(segmenter) if settings.average else None
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("shares", shares, persistent=False)
        self.register_buffer("groups", band_groups(segmenter.encoder.spec), persistent=False)
        self.register_buffer("sensors", _by_sensor(segmenter), persistent=False)
        if settings.protocol == "linear":
            segmenter.encoder.requires_grad_(requires_grad=False)

    def train(self, mode: bool = True) -> "Finetune":
        """Set the mode; a frozen encoder and an average never leave inference."""
        super().train(mode)
        if self.settings.protocol == "linear":
            self.segmenter.encoder.eval()
        if self.average is not None:
            self.average.eval()
        return self

    @property
    def result(self) -> Segmenter:
        """The network that maps."""
        return self.segmenter if self.average is None else self.average

    def forward(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        """Return the loss of labelled pixels, and of unlabelled samples where there is a teacher.

        Raises:
            InvalidInputError: The batch has no labelled pixel.
        """
        if batch.labels is None or not (batch.labels != IGNORED).any():
            raise InvalidInputError("finetuning needs labels; draw patches of labelled fields")
        bands: Normalised = self.segmenter.encoder.normalise(batch.stored)
        is_labelled = (batch.labels != IGNORED).flatten(1).any(1)
        view = _View(bands.values, bands.is_valid, bands.is_absent)
        known, unknown = view.of(is_labelled), view.of(~is_labelled)
        known = self._withheld(known._replace(values=self._jittered(known, generator)), generator)
        if self.average is None or not self.settings.teacher.weight or not len(unknown.values):
            logits = self.segmenter(known.values, known.is_absent)
            return self._supervised(logits.float(), batch.labels[is_labelled])
        groups, degradation = self.get_buffer("groups"), self.settings.teacher.degradation
        strong = degrade(unknown.values, unknown.is_absent, groups, degradation, generator)
        both = self.segmenter(
            torch.cat([known.values, strong.bands]),
            torch.cat([known.is_absent, unknown.is_absent | strong.is_dropped]),
        ).float()
        count = len(known.values)
        supervised = self._supervised(both[:count], batch.labels[is_labelled])
        taught = self._taught(self.average, both[count:], unknown)
        return supervised + self.settings.teacher.weight * taught

    @torch.no_grad()
    def after_step(self) -> None:
        """Move the average towards the weights, faster at first."""
        if self.average is None:
            return
        steps = self.get_buffer("steps")
        steps += 1
        decay = min(self.settings.average, (1 + int(steps)) / (10 + int(steps)))
        theirs = self.segmenter.state_dict()
        for name, mine in self.average.state_dict().items():
            if mine.is_floating_point():
                mine.lerp_(theirs[name].to(mine.dtype), 1 - decay)
            else:
                mine.copy_(theirs[name])

    def _supervised(
        self, logits: Float[Tensor, "batch class y x"], labels: Int64[Tensor, "batch y x"]
    ) -> Float[Tensor, ""]:
        spec, shares = self.settings.loss, self.get_buffer("shares")
        # A class without a label is neither favoured nor held down.
        is_known = shares > 0
        known = torch.where(is_known, shares, 1.0)
        adjusted = logits + spec.prior * known.log()[:, None, None]
        relative = torch.where(is_known, known / known[is_known].mean(), 1.0)
        weight = relative**-spec.frequency if spec.frequency else None
        loss = F.cross_entropy(
            adjusted, labels, weight, ignore_index=IGNORED, label_smoothing=spec.smoothing
        )
        counted = labels[labels != IGNORED]
        amount = torch.ones_like(shares) if weight is None else weight
        loss = loss * share_of_ranks(amount[counted].sum())
        return loss + spec.dice * dice_loss(adjusted, labels) if spec.dice else loss

    def _taught(
        self, teacher: Segmenter, logits: Float[Tensor, "batch class y x"], view: "_View"
    ) -> Float[Tensor, ""]:
        with torch.no_grad():
            taught = torch.softmax(teacher(view.values, view.is_absent).float(), 1)
            probability, target = taught.max(1)
            counts = (probability >= self.settings.teacher.threshold) & view.is_valid.any(1)
        losses = F.cross_entropy(logits, target, reduction="none")
        return (losses * counts).mean()

    def _jittered(
        self, view: "_View", generator: torch.Generator
    ) -> Float[Tensor, "batch band y x"]:
        values, spec = view.values, self.settings.jitter

        shape = (*values.shape[:2], 1, 1)
        jittered = values * (1 + spec.gain * normal(generator, *shape).to(values))
        jittered = jittered + spec.shift * normal(generator, *shape).to(values)
        if spec.noise:
            noise = torch.randn(values.shape, generator=own(generator))
            jittered = jittered + spec.noise * noise.to(values)
        return torch.where(view.is_valid, jittered, 0.0)

    def _withheld(self, view: "_View", generator: torch.Generator) -> "_View":
        spec, sensors = self.settings.withhold, self.get_buffer("sensors")
        if not (spec.sensor or spec.band):
            return view
        batch, bands = view.is_absent.shape
        by_sensor = uniform(generator, batch, len(sensors)) < spec.sensor
        by_band = uniform(generator, batch, bands) < spec.band
        hidden = (by_sensor.float() @ sensors.float().cpu()).bool() | by_band
        hidden = hidden.to(view.values.device)
        # A sample from which everything would be withheld keeps what it has.
        hidden &= ~(hidden | view.is_absent).all(1, keepdim=True)
        values = torch.where(hidden[:, :, None, None], 0.0, view.values)
        return view._replace(values=values, is_absent=view.is_absent | hidden)


class _View(NamedTuple):
    values: Float[Tensor, "batch band y x"]
    is_valid: Bool[Tensor, "batch band y x"]
    is_absent: Bool[Tensor, "batch band"]

    def of(self, chosen: Bool[Tensor, " batch"]) -> "_View":
        return _View(*(part[chosen] for part in self))


def dice_loss(
    logits: Float[Tensor, "batch class y x"], labels: Int64[Tensor, "batch y x"]
) -> Float[Tensor, ""]:
    """Return 1 minus the mean soft Dice coefficient over the classes that the labels hold."""
    is_known = labels != IGNORED
    probabilities = torch.softmax(logits, 1) * is_known[:, None]
    one_hot = F.one_hot(labels.where(is_known, 0), logits.shape[1]).movedim(-1, 1)
    one_hot = one_hot * is_known[:, None]
    shared = (probabilities * one_hot).sum((0, 2, 3))
    total = (probabilities + one_hot).sum((0, 2, 3))
    dice = (2 * shared + SMOOTHING) / (total + SMOOTHING)
    present = one_hot.sum((0, 2, 3)) > 0
    loss: Tensor = 1 - (dice * present).sum() / present.sum().clamp(min=1)
    return loss


def _copied(segmenter: Segmenter) -> Segmenter:
    copied = copy.deepcopy(segmenter)
    copied.requires_grad_(requires_grad=False)
    return copied.eval()


def _by_sensor(segmenter: Segmenter) -> Bool[Tensor, "sensor band"]:
    names = [band.name.split(":")[0] for band in segmenter.encoder.spec.bands]
    return torch.tensor([[name == sensor for name in names] for sensor in dict.fromkeys(names)])
