"""A study: every number that decides what is learned, and none that says where."""

from typing import Literal

from pydantic import Field, JsonValue

from sscl_geo.frozen import Frozen
from sscl_geo.geo.inputs import BandInput, ReflectanceScale
from sscl_geo.learn.schedule import Schedule
from sscl_geo.learn.spec import BackboneSpec, FeatureSpec, NetworkSpec
from sscl_geo.learn.supervised import FinetuneSettings


class PretextStudy(Frozen):
    """One pretext task.

    Attributes:
        name: Name of the pretext plugin.
        schedule: How long and how fast.
        settings: Fields of the plugin's `Settings`; its defaults where absent.
    """

    name: str
    schedule: Schedule
    settings: dict[str, JsonValue] = Field(default_factory=dict)


class FinetuneStudy(Frozen):
    """Finetuning.

    Attributes:
        schedule: How long and how fast.
        sampling: How labelled patches are drawn: labelled pixels evenly, classes evenly, or fields
            (a cube's areas, or chips) evenly. Every patch holds a labelled pixel.
        settings: How labels are learned from.
        patience: Epochs without a lower cross-entropy on the validation after which finetuning
            ends; None never ends it early. With a validation, the best epoch's weights are kept.
    """

    schedule: Schedule
    sampling: Literal["pixels", "classes", "fields"] = "pixels"
    settings: FinetuneSettings = FinetuneSettings()
    patience: int | None = Field(default=None, ge=1)


class InitStudy(Frozen):
    """What a network's weights are before any training.

    Attributes:
        name: Name of the init plugin.
        settings: Fields of the plugin's `Settings`; its defaults where absent.
    """

    name: str = "random"
    settings: dict[str, JsonValue] = Field(default_factory=dict)


class Study(Frozen):
    """What is learned and how.

    Attributes:
        periods: Consecutive periods of a cube that a network sees side by side, such as the four
            quarters of a year.
        inputs: Sensors, or bands such as `sentinel2_l2a:B02`; all that the first imagery has if
            empty.
        reflectance: Whether optical bands enter as they are (`linear`) or as logarithms (`log`), in
            which the ratios of bands are differences; radar is in dB either way.
        has_masks: Whether the network has a learned vector for each band, in place of an absent
            one's features.
        features: The single-channel feature extractor.
        backbone: The backbone.
        init: What weights are before any training.
        pretexts: Pretext tasks in their order.
        finetune: Finetuning.
        window: Side of an inference window in 10 m pixels.
        halo: Pixels of a window, on each side, that blend with its neighbours.
        seed: Seed of everything drawn.
    """

    periods: int = Field(default=1, ge=1)
    inputs: tuple[str, ...] = ()
    reflectance: ReflectanceScale = "linear"
    has_masks: bool = False
    init: InitStudy = InitStudy()
    features: FeatureSpec = FeatureSpec()
    backbone: BackboneSpec = BackboneSpec()
    pretexts: tuple[PretextStudy, ...] = ()
    finetune: FinetuneStudy
    window: int = 256
    halo: int = 32
    seed: int = Field(default=0, ge=0)

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """The schedules of its pretext tasks, and of finetuning."""
        return (*(pretext.schedule for pretext in self.pretexts), self.finetune.schedule)

    def network(self, bands: tuple[BandInput, ...], gsd: int) -> NetworkSpec:
        """Return the network of this study on some inputs.

        Args:
            bands: The inputs.
            gsd: Ground sampling distance in metres of the pixels that it sees and maps.
        """
        return NetworkSpec(
            bands=bands,
            gsd=gsd,
            features=self.features,
            backbone=self.backbone,
            has_masks=self.has_masks,
        )
