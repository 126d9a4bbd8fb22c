"""A study: every number that decides what is learned, and none that says where."""

from pydantic import Field, JsonValue

from sscl_geo.frozen import Frozen
from sscl_geo.learn.fit import Schedule
from sscl_geo.learn.spec import BackboneSpec, FeatureSpec
from sscl_geo.learn.supervised import JitterSpec


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
        is_balanced: Whether patches are drawn class by class instead of pixel by pixel.
        jitter: Augmentation of labelled patches, off by default.
    """

    schedule: Schedule
    is_balanced: bool = False
    jitter: JitterSpec = JitterSpec()


class Study(Frozen):
    """What is learned and how.

    Attributes:
        periods: Consecutive periods of a cube that a network sees side by side, such as the four
            quarters of a year.
        features: The single-channel feature extractor.
        backbone: The backbone.
        pretexts: Pretext tasks in their order.
        finetune: Finetuning.
        window: Side of an inference window in 10 m pixels.
        halo: Pixels of a window, on each side, that blend with its neighbours.
        seed: Seed of everything drawn.
    """

    periods: int = Field(default=1, ge=1)
    features: FeatureSpec = FeatureSpec()
    backbone: BackboneSpec = BackboneSpec()
    pretexts: tuple[PretextStudy, ...]
    finetune: FinetuneStudy
    window: int = 256
    halo: int = 32
    seed: int = 0
