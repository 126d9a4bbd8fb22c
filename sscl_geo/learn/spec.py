"""What a network is, as a value that its bundle keeps."""

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.inputs import BandInput


class FeatureSpec(Frozen):
    """The single-channel feature extractor.

    Attributes:
        layers: Number of 3x3 convolutions; 0 is early fusion, which hands the bands themselves to
            the backbone.
        width: Number of features per band; 1 for early fusion.
    """

    layers: int = Field(default=3, ge=0)
    width: int = Field(default=16, ge=1)

    @model_validator(mode="after")
    def _check(self) -> "FeatureSpec":
        if self.layers == 0 and self.width != 1:
            raise InvalidInputError(
                f"features: width {self.width} with 0 layers; early fusion has width 1"
            )
        return self


class BackboneSpec(Frozen):
    """The segmentation backbone.

    Attributes:
        name: Name of the backbone plugin.
        depth: Number of layers of the ResNet.
        width: Planes of its first stage.
        output_stride: Pixels of the input per pixel of its last stage; at 2 the stem does not pool.
        rates: Dilations of the atrous branches of ASPP, or of the layers of `dilated`, one after
            the other.
        context_width: Planes of the penultimate map.
        branches: Input planes of each encoder, in a backbone that has several; one for all if
            empty.
    """

    name: str = "deeplabv3"
    depth: Literal[18, 50, 101] = 50
    width: int = Field(default=64, ge=4)
    output_stride: Literal[2, 4, 8, 16] = 8
    rates: tuple[PositiveInt, ...] = (12, 24, 36)
    context_width: int = Field(default=256, ge=4)
    branches: tuple[PositiveInt, ...] = ()


class NetworkSpec(Frozen):
    """A network without its weights.

    Attributes:
        bands: Its inputs, in order; bands of one array stand together.
        gsd: Ground sampling distance in metres of the pixels that it sees and maps.
        features: The feature extractor.
        backbone: The backbone.
        has_masks: Whether it has a learned vector for each band, which stands for its features
            where the band is absent.
    """

    bands: tuple[BandInput, ...]
    gsd: int = Field(default=10, ge=1)
    features: FeatureSpec = FeatureSpec()
    backbone: BackboneSpec = BackboneSpec()
    has_masks: bool = False

    @model_validator(mode="after")
    def _check(self) -> "NetworkSpec":
        arrays = [band.array for band in self.bands]
        runs = [a for i, a in enumerate(arrays) if i == 0 or arrays[i - 1] != a]
        if len({band.name for band in self.bands}) < len(self.bands) or len({*runs}) < len(runs):
            raise InvalidInputError(
                "bands of a network must have distinct names and stand together by array"
            )
        return self

    @property
    def arrays(self) -> dict[str, tuple[BandInput, ...]]:
        """The inputs that each array gives, in order."""
        grouped: dict[str, tuple[BandInput, ...]] = {}
        for band in self.bands:
            grouped[band.array] = (*grouped.get(band.array, ()), band)
        return grouped
