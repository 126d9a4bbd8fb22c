from pathlib import Path

import pytest

from sscl_geo import plugins
from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import read_yaml
from sscl_geo.geo.legend import Legend
from sscl_geo.geo.sensor import Sensor
from sscl_geo.io.profile import Profile, is_url, source

PROFILES = sorted(plugins.shipped("catalogs").glob("*.yaml"))
LEGENDS = sorted((plugins.shipped("catalogs") / "legends").glob("*.yaml"))


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_a_shipped_profile_names_sensors_and_bands_that_exist(path: Path) -> None:
    profile = read_yaml(Profile, path)
    assert profile.name == path.stem
    assert profile.sensors
    for name, place in profile.sensors.items():
        sensor: Sensor = plugins.find("sscl_geo.sensors", name).SENSOR
        assert set(place.assets) <= {band.name for band in sensor.bands}
        keys = [
            key
            for keys in place.assets.values()
            for key in ([keys] if isinstance(keys, str) else keys)
        ]
        assert len({*keys}) == len(keys)
        assert place.collections
        is_optical = sensor.kind == "optical"
        assert bool(place.offset_witnesses) is is_optical
        assert (place.mask is not None) is is_optical

        assert set(place.offset_rules) <= set(place.collections)


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_a_shipped_profile_s_layers_are_classes_of_a_legend_or_measurements(path: Path) -> None:
    for layer in read_yaml(Profile, path).layers.values():
        if layer.content == "continuous":
            assert (bool(layer.units), layer.legend) == (True, None)
            continue
        if layer.legend is None:  # a profile without an address cannot know the classes
            assert read_yaml(Profile, path).url is None
            continue
        legend = read_yaml(Legend, plugins.shipped("catalogs") / "legends" / f"{layer.legend}.yaml")
        assert all(0 not in (item.sources or (item.value,)) for item in legend.classes)


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_a_shipped_profile_with_an_address_is_a_catalogue_by_its_name(path: Path) -> None:
    profile = read_yaml(Profile, path)
    if profile.url is None:
        with pytest.raises(InvalidInputError, match=f"{path.stem} as --profile"):
            source(path.stem)
        return
    assert source(path.stem).address == profile.url
    assert source(str(path)) == source(path.stem)
    assert is_url(profile.url)


@pytest.mark.parametrize("path", LEGENDS, ids=lambda path: path.stem)
def test_a_shipped_legend_parses(path: Path) -> None:
    legend = read_yaml(Legend, path)
    assert len({*legend.names}) == len(legend.names)
    assert len({item.color for item in legend.classes}) == len(legend.classes)


def test_a_url_is_read_with_the_generic_profile_unless_another_is_named() -> None:
    assert source("http://127.0.0.1:1/stac").profile.name == "generic"
    named = source("http://127.0.0.1:1/stac", "earth-search")
    assert (named.profile.name, named.address) == ("earth-search", "http://127.0.0.1:1/stac")
    assert named.root is None


def test_a_collection_may_have_an_offset_rule_of_its_own() -> None:
    place = source("earth-search").profile.sensors["sentinel2_l2a"]
    assert place.offset_rule("sentinel-2-l2a").on_conflict == "pixels"
    assert place.offset_rule("sentinel-2-c1-l2a").on_conflict == "refuse"
    assert place.offset_rule("sentinel-2-c1-l2a").witnesses == place.offset_witnesses


def test_the_host_of_an_api_may_serve_its_assets_too() -> None:
    named = source("http://stac.example.org:8080/v1", "planetary-computer")
    assert named.hosts == ("*.blob.core.windows.net", "stac.example.org")


def test_a_static_catalogue_is_read_from_its_own_folder_alone(tmp_path: Path) -> None:
    path = tmp_path / "catalog.json"
    path.write_text("{}")
    static = source(str(path))
    assert static.root == tmp_path.resolve()
    assert static.hosts == ()


@pytest.mark.parametrize(
    ("catalog", "profile", "told"),
    [
        ("atlantis", None, r"catalogue profile 'atlantis'.*planetary-computer"),
        ("atlantis.yaml", None, r"'atlantis\.yaml': no such file"),
        ("absent/catalog.json", None, r"--catalog absent/catalog\.json: no such file.*generic"),
        ("http://127.0.0.1:1", "atlantis", r"catalogue profile 'atlantis'"),
        ("generic", None, r"no url.*generic as --profile"),
        ("http://[bad", None, r"--catalog: the URL is malformed"),
        ("earth-search", "generic", r"--profile generic: is of a URL.*earth-search is a profile"),
    ],
)
def test_what_is_no_catalogue_is_refused_with_what_there_is(
    catalog: str, profile: str | None, told: str
) -> None:
    with pytest.raises(InvalidInputError, match=told):
        source(catalog, profile)


def test_a_profile_with_an_unknown_witness_is_refused_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "name: own\nurl: http://127.0.0.1:1\nsensors:\n  sentinel2_l2a:\n"
        "    collections: [a]\n    assets: {B02: b}\n    offset_witnesses: [the_weather]\n"
    )
    with pytest.raises(InvalidInputError, match=r"own\.yaml: .*offset_witnesses"):
        source(str(path))


def test_credentials_in_a_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidInputError, match=r"\.netrc") as error:
        source("https://me:secret@stac.example.org/v1")
    assert "secret" not in str(error.value)
