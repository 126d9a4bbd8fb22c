"""What a satellite product measures and how it is stored."""

from typing import Literal

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen


class Band(Frozen):
    """One band of a product.

    Attributes:
        name: The product's name for it, such as `B8A` or `VV`.
        gsd: Native ground sampling distance in metres.
        common_name: STAC EO common name, where the band has one.
        wavelength_nm: Centre wavelength in nanometres, for optical bands.
    """

    name: str
    gsd: int
    common_name: str | None = None
    wavelength_nm: float | None = None


class Sensor(Frozen):
    """One satellite product and its storage in a cube.

    Attributes:
        name: The product's name, which is its file's.
        array: Name of its arrays in a cube, such as `s2`.
        quantity: What a stored number means after scale and offset.
        units: CF units of that quantity.
        kind: Which compositing and masking road the product takes.
        bands: Its bands, in order.
        dtype: Stored type.
        nodata: Stored value of a pixel without an observation.
        scale: `quantity = stored * scale + offset`.
        offset: See `scale`.
        product_types: Values of STAC `sar:product_type` that are this product; empty for optical.
    """

    name: str
    array: str
    quantity: str
    units: str
    kind: Literal["optical", "sar"]
    bands: tuple[Band, ...]
    dtype: Literal["uint16", "int16"]
    nodata: int
    scale: float
    offset: float
    product_types: tuple[str, ...] = ()

    def group(self, band: Band) -> str:
        """Return the cube group that stores a band: `r10m`, or `r20m` for 20 and 60 m bands."""
        return "r10m" if band.gsd == 10 else "r20m"  # noqa: PLR2004 - metres

    @property
    def groups(self) -> dict[str, tuple[Band, ...]]:
        """The bands of each cube group, in order; groups without a band are left out."""
        grouped: dict[str, tuple[Band, ...]] = {}
        for band in self.bands:
            name = self.group(band)
            grouped[name] = (*grouped.get(name, ()), band)
        return dict(sorted(grouped.items()))

    def band(self, name: str) -> Band:
        """Return a band by name.

        Raises:
            InvalidInputError: The product has no such band.
        """
        for band in self.bands:
            if band.name == name:
                return band
        known = ", ".join(band.name for band in self.bands)
        raise InvalidInputError(f"{self.name} has no band {name!r}; it has {known}")


GROUP_GSD = {"r10m": 10, "r20m": 20}
"""Ground sampling distance in metres of each cube group."""
