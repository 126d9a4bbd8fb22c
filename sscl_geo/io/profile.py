"""Profiles: what is known about a STAC API."""

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen, read_yaml
from sscl_geo.io.offsets import Witness
from sscl_geo.plugins import shipped, shipped_file


class SensorSource(Frozen):
    """Where a catalogue keeps one sensor.

    Attributes:
        collections: STAC collection ids.
        assets: Asset key of each band.
        mask: Asset key of the Scene Classification Layer, for optical sensors.
        product_types: Values of STAC `sar:product_type` that are this sensor here; the sensor's own
            if empty. By it a catalogue's profile vouches for items that name another product.
        offset_witnesses: Metadata that tell the DN convention, for optical sensors.
    """

    collections: tuple[str, ...]
    assets: dict[str, str]
    mask: str | None = None
    product_types: tuple[str, ...] = ()
    offset_witnesses: tuple[Witness, ...] = ()


class Profile(Frozen):
    """One STAC API or static catalogue.

    Attributes:
        name: The file's name.
        url: Landing page of the API; None where the command line gives the address.
        signing: Who signs asset addresses at the moment of reading.
        hosts: Patterns of the hosts that assets may be read from, next to the API's own.
        licence: Licence of the data, for the products made of them.
        sensors: The catalogue's sensors by plugin name.
    """

    name: str
    url: str | None = None
    signing: Literal["none", "planetary-computer"] = "none"
    hosts: tuple[str, ...] = ()
    licence: str = "Copernicus Sentinel data terms"
    sensors: dict[str, SensorSource]


class Source(Frozen):
    """A catalogue to read: its profile and its address.

    Attributes:
        profile: What is known about it.
        address: URL of a STAC API, or path of a static catalogue.
    """

    profile: Profile
    address: str

    @property
    def root(self) -> Path | None:
        """Folder of a static catalogue on disk; None for an API."""
        return None if is_url(self.address) else Path(self.address).resolve().parent

    @property
    def hosts(self) -> tuple[str, ...]:
        """Patterns of the hosts that assets may be read from."""
        own = urlsplit(self.address).hostname
        return (*self.profile.hosts, own) if own else self.profile.hosts


def is_url(address: str) -> bool:
    """Whether an address is of the web, not of a disk."""
    return urlsplit(address).scheme in ("http", "https")


def source(catalog: str, profile: str | None = None) -> Source:
    """Return the catalogue that a user names.

    Args:
        catalog: Name of a profile of the package, a profile's YAML file with a `url`, the URL of a
            STAC API, or the path of a static `catalog.json`.
        profile: Name or YAML file of the profile for a URL or static catalogue; `generic` if None.

    Raises:
        InvalidInputError: There is no such profile or file, or the profile has no URL.
    """
    if is_url(catalog) or catalog.endswith(".json"):
        if not is_url(catalog) and not Path(catalog).is_file():
            raise InvalidInputError(
                f"--catalog {catalog}: no such file; give a name ({_names()}), a URL or a "
                "catalog.json"
            )
        return Source(profile=_profile(profile or "generic"), address=catalog)
    found = _profile(catalog)
    if found.url is None:
        raise InvalidInputError(
            f"--catalog {catalog}: this profile has no url; give the API's URL as --catalog "
            f"and {catalog} as --profile"
        )
    return Source(profile=found, address=found.url)


def _profile(name: str) -> Profile:
    return read_yaml(Profile, shipped_file("catalogs", name, "catalogue profile"))


def _names() -> str:
    return ", ".join(sorted(path.stem for path in shipped("catalogs").glob("*.yaml")))
