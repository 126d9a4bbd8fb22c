"""The parts of an experiment as a YAML file says them: systems, tables, and the split of chips."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, PositiveInt, model_validator

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen

LabelCount = PositiveInt | Literal["all"]
Share = Annotated[float, Field(ge=0, lt=1)]
Metric = Literal["mIoU", "mIoU over all classes", "OA", "AA", "NLL", "ECE", "boundary F1"]
Named = Annotated[tuple[str, ...], Field(min_length=1)]


class ForestSpec(Frozen):
    """A random forest on the bands of single pixels, and on what lies around them.

    Attributes:
        trees: Number of trees.
        context: Sides in pixels of squares whose mean and spread are features too.
        pixels: Most labelled pixels of a chip that it learns from.
    """

    trees: int = Field(default=200, ge=1)
    context: tuple[PositiveInt, ...] = ()
    pixels: int = Field(default=2000, ge=1)


class HeadSpec(Frozen):
    """A classical classifier on the penultimate map of another system's frozen encoder.

    Attributes:
        of: The system whose encoder it takes.
        classifier: Which one.
        with_bands: Whether the bands and their surroundings are features too.
        context: Sides in pixels of the squares around, for the bands.
        pixels: Most labelled pixels of a chip that it learns from.
    """

    of: str
    classifier: Literal["logistic", "boosting", "forest"] = "logistic"
    with_bands: bool = False
    context: tuple[PositiveInt, ...] = ()
    pixels: int = Field(default=2000, ge=1)


class System(Frozen):
    """One row of a table: a network, a forest, a classical head, or several of them together.

    Attributes:
        study: What differs from the experiment's study; a network, if it is nothing else below.
        draw: Which of several trainings of a network: each number has other first weights and
            batches, of the same labels.
        of: The system whose pretrained encoder a network takes; None pretrains its own, where its
            study has pretexts.
        forest: A random forest instead.
        head: A classical head instead.
        ensemble: The mean of the probabilities of other systems instead, which learned from the
            same labels with the same seed (a deep ensemble, Lakshminarayanan et al. 2017, arXiv
            1612.01474, if they are networks).
        calibrated: Whether its logits are divided by a temperature that is fitted on the chips of
            `validation`, whose labels no number of labels counts; it changes what it is
            sure of (NLL, ECE), and no class.
        judged_without: Sensors, or bands such as `sentinel2_l2a:B02`, that a network learned from
            and that are missing from the chips that it is judged on.
        labels: Numbers of labelled chips that it is tried with; None takes the experiment's.
        seeds: Number of seeds that it is tried with; None takes the experiment's.
        about: What it is, for the table.
        published: What others report for it with the last of its numbers of labels, by metric: a
            mean, or a mean and a standard deviation.
    """

    study: dict[str, JsonValue] = Field(default_factory=dict)
    draw: int = Field(default=0, ge=0)
    of: str | None = None
    forest: ForestSpec | None = None
    head: HeadSpec | None = None
    ensemble: tuple[str, ...] = ()
    calibrated: bool = False
    judged_without: tuple[str, ...] = ()
    labels: tuple[LabelCount, ...] | None = None
    seeds: int | None = Field(default=None, ge=1)
    about: str = ""
    published: dict[Metric, float | tuple[float, float]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_kind(self) -> "System":
        is_network = bool(self.study or self.draw or self.of)
        kinds = (is_network, self.forest is not None, self.head is not None, bool(self.ensemble))
        if sum(kinds) > 1:
            raise InvalidInputError(
                "a system is a network, a forest, a head or an ensemble; give one of them"
            )
        if self.ensemble and self.calibrated:
            raise InvalidInputError("an ensemble is not calibrated; calibrate one system alone")
        if self.judged_without and not self.is_network:
            raise InvalidInputError("`judged_without` takes bands from a network alone")
        if self.ensemble and not 1 < len(self.ensemble) == len({*self.ensemble}):
            raise InvalidInputError("an ensemble has two members or more, each once")
        return self

    @property
    def is_network(self) -> bool:
        """Whether it is a network with weights of its own."""
        return self.forest is None and self.head is None and not self.ensemble

    @property
    def encoder_of(self) -> str | None:
        """The other system whose encoder it needs."""
        return self.of if self.head is None else self.head.of


class TableSpec(Frozen):
    """A table that others published, done again: each system with its last number of labels.

    Attributes:
        title: Its heading.
        systems: Its rows.
        metrics: Its columns; each is ours, and beside it what a system's `published` tells.
        by_class: Whether the recall of every class follows.
    """

    title: str
    systems: Named
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)]
    by_class: bool = False


class SplitSpec(Frozen):
    """Which chips train and which test; chips of one place stay together.

    Attributes:
        by: `place` goes by places, which are named or drawn by a seed; `part` takes the parts that
            the set's makers named.
        train: Name of the part that trains; None takes all that neither test nor validate.
        test: Share of places, their names, or name of a part, that tests.
        validation: As `test`, for choosing; never in a reported table.
        without: Ids of chips that take no part.
        seed: Seed of the draw of places.
    """

    by: Literal["place", "part"] = "place"
    train: str | None = None
    test: Share | Named | str
    validation: Share | Named | str = 0.0
    without: tuple[str, ...] = ()
    seed: int = 0
