"""The units of an experiment, by the names under which their results are kept."""

from pathlib import Path

import torch

from sscl_geo.experiment.matrix import Experiment
from sscl_geo.experiment.spec import LabelCount
from sscl_geo.frozen import Frozen
from sscl_geo.io.location import Location
from sscl_geo.runtime.gang import CACHE

ENCODERS, MODELS, PROBABILITIES = "encoders", "models", "probabilities"


class Job(Frozen):
    """What all cells share.

    Attributes:
        experiment: The matrix.
        chips: Where the chips are, for any process.
        train: Numbers of the chips that train.
        judged: Numbers of the chips that are judged on.
        validation: Numbers of the chips that temperatures are fitted on.
        out: Absolute folder of what is made.
        gpus: Whether networks compute on a GPU.
    """

    experiment: Experiment
    chips: Location
    train: tuple[int, ...]
    judged: tuple[int, ...]
    validation: tuple[int, ...]
    out: Path
    gpus: bool = False

    @property
    def device(self) -> torch.device:
        """Where networks compute."""
        return torch.device("cuda" if self.gpus else "cpu")

    def encoder(self, system: str, seed: int) -> "EncoderUnit | None":
        """Return the pretraining that a system starts from; None for one without."""
        pretrained = self.experiment.encoder_system(system)
        if pretrained is None:
            return None
        number = seed % self.experiment.encoder_seeds
        return EncoderUnit.of(self.experiment, pretrained, number)

    def encoder_path(self, system: str, seed: int) -> Path | None:
        """Return where the encoder is that a system starts from; None for one without."""
        unit = self.encoder(system, seed)
        return None if unit is None else self.out / unit.key

    @property
    def cache(self) -> Path:
        """Where decoded chips are until all cells are done, for all of them."""
        return self.out / CACHE

    def probabilities(self, unit: "CellUnit") -> Path:
        """Return where what a member of an ensemble says is kept."""
        return self.out / PROBABILITIES / f"{unit.key}.npy"


class EncoderUnit(Frozen):
    """The pretraining of a system with a seed."""

    system: str
    version: str
    seed: int

    @classmethod
    def of(cls, experiment: Experiment, system: str, seed: int) -> "EncoderUnit":
        """Return the unit of an experiment's system."""
        return cls(system=system, version=experiment.encoder_version(system), seed=seed)

    @property
    def key(self) -> str:
        """Its name, which is also that of its folder."""
        return f"{ENCODERS}/{self.system}@{self.version}/{self.seed}"


class CellUnit(Frozen):
    """One system with some labelled chips and a seed."""

    system: str
    version: str
    labels: LabelCount
    seed: int

    @classmethod
    def of(cls, experiment: Experiment, system: str, labels: LabelCount, seed: int) -> "CellUnit":
        """Return the unit of an experiment's system."""
        return cls(system=system, version=experiment.version(system), labels=labels, seed=seed)

    @property
    def key(self) -> str:
        """Its name, which is also that of its folder."""
        return f"{MODELS}/{self.system}@{self.version}/{self.labels}/{self.seed}"


class MemberUnit(Frozen):
    """A cell that is computed again for an ensemble, as it was done before it was a member."""

    cell: CellUnit

    @property
    def key(self) -> str:
        """Its name."""
        return f"{PROBABILITIES}/{self.cell.key}"


Unit = EncoderUnit | CellUnit | MemberUnit
