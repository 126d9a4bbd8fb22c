"""Profiles: what is known about a STAC API."""

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen, read_yaml
from sscl_geo.io.offsets import Conflict, Witness
from sscl_geo.io.signing import Signing
from sscl_geo.io.trust import redacted
from sscl_geo.plugins import shipped_file, shipped_names

GEOTIFF = ("image/tiff", "image/vnd.stac.geotiff", "image/x.geotiff")
"""Media types of the rasters that the reader opens, without their parameters."""


class OffsetRule(Frozen):
    """How a collection's DN convention is found.

    Attributes:
        witnesses: Metadata that count.
        on_conflict: Whether pixels outrank metadata, or the item is refused where they disagree.
    """

    witnesses: tuple[Witness, ...]
    on_conflict: Conflict = "refuse"


class SensorSource(Frozen):
    """Where a catalogue keeps one sensor.

    Attributes:
        collections: STAC collection ids, the preferred first: of one datatake and tile, a later
            collection only fills the gaps of an earlier one.
        assets: Asset key of each band; of several keys the first that an item has.
        mask: Asset key or keys of the Scene Classification Layer, for optical sensors.
        media_types: Media types of assets that can be read; an asset of another type is refused.
        product_types: Values of STAC `sar:product_type` that are this sensor here; the sensor's own
            if empty. By it a catalogue's profile vouches for items that name another product.
        offset_witnesses: Metadata that tell the DN convention, for optical sensors.
        offset_rules: The rule of each collection that differs from `offset_witnesses`.
    """

    collections: tuple[str, ...]
    assets: dict[str, str | tuple[str, ...]]
    mask: str | tuple[str, ...] | None = None
    media_types: tuple[str, ...] = GEOTIFF
    product_types: tuple[str, ...] = ()
    offset_witnesses: tuple[Witness, ...] = ()
    offset_rules: dict[str, OffsetRule] = Field(default_factory=dict)

    def offset_rule(self, collection: str) -> OffsetRule:
        """Return how the DN convention of a collection is found."""
        common = OffsetRule(witnesses=self.offset_witnesses)
        return self.offset_rules.get(collection, common)


class Layer(Frozen):
    """A ready-made raster of a catalogue: labels, or an auxiliary such as elevation.

    Attributes:
        collection: STAC collection id.
        asset: Asset key of the raster.
        content: Whether its values are classes or measurements.
        legend: Name of the shipped legend of its classes, where the collection fixes them; labels
            have it where no other is given.
        units: CF units of its measurements.
        license: Licence of the layer, for the labels made of it.
    """

    collection: str
    asset: str
    content: Literal["classes", "continuous"]
    legend: str | None = None
    units: str | None = None
    license: str


class Profile(Frozen):
    """One STAC API or static catalogue.

    Attributes:
        name: The file's name.
        url: Landing page of the API; None where the command line gives the address.
        page_items: Items that one page of a search asks for.
        signing: Who signs asset addresses at the moment of reading.
        hosts: Patterns of the hosts that assets may be read from, next to the API's own.
        private_hosts: Names of servers in your own network. Any other name must lead to a public
            address, whatever a catalogue says; an address in numbers is allowed by `hosts`.
        buckets: Web address of each public bucket that items name as `s3://`.
        alternate: Which of an asset's alternate addresses (STAC alternate-assets extension) to
            take where it has one.
        license: Licence of the data, for the products made of them.
        sensors: The catalogue's sensors by plugin name.
        layers: Its label and auxiliary layers by a name of ours.
    """

    name: str
    url: str | None = None
    page_items: int = Field(default=250, ge=1, le=1000)
    signing: Signing = "none"
    hosts: tuple[str, ...] = ()
    private_hosts: tuple[str, ...] = ()
    buckets: dict[str, str] = Field(default_factory=dict)
    alternate: str | None = None
    license: str = "Copernicus Sentinel data terms"
    sensors: dict[str, SensorSource]
    layers: dict[str, Layer] = Field(default_factory=dict)


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
        own = urlsplit(self.address).hostname if is_url(self.address) else None
        buckets = (urlsplit(address).hostname for address in self.profile.buckets.values())
        return (
            *self.profile.hosts,
            *self.profile.private_hosts,
            *(host for host in (own, *buckets) if host),
        )


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
        InvalidInputError: There is no such profile or file, the profile has no URL or is the second
            one named, or a URL is malformed or holds credentials, which would be kept in every
            store.
    """
    try:
        urlsplit(catalog)
    except ValueError as error:
        raise InvalidInputError(
            f"--catalog: the URL is malformed ({error}); write it as https://host/path"
        ) from None
    if is_url(catalog) and ("@" in urlsplit(catalog).netloc or urlsplit(catalog).query):
        raise InvalidInputError(
            f"--catalog {redacted(catalog)}: leave credentials and queries out of the URL, which "
            "every store keeps; put credentials in a .netrc file"
        )
    if is_url(catalog) or catalog.endswith(".json"):
        if not is_url(catalog) and not Path(catalog).is_file():
            raise InvalidInputError(
                f"--catalog {catalog}: no such file; give a name ({shipped_names('catalogs')}), a "
                "URL or a catalog.json"
            )
        return Source(profile=profile_named(profile or "generic"), address=catalog)
    if profile is not None:
        raise InvalidInputError(
            f"--profile {profile}: is of a URL or catalog.json, and --catalog {catalog} is a "
            "profile itself; leave --profile out, or give such a --catalog"
        )
    found = profile_named(catalog)
    if found.url is None:
        raise InvalidInputError(
            f"--catalog {catalog}: this profile has no url; give the API's URL as --catalog "
            f"and {catalog} as --profile"
        )
    return Source(profile=found, address=found.url)


def profile_named(name: str) -> Profile:
    """Return a profile of the package, or of a YAML file.

    Raises:
        InvalidInputError: There is no such profile or file, or it breaks a rule.
    """
    return read_yaml(Profile, shipped_file("catalogs", name, "catalogue profile"))
