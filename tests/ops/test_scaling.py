import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo import plugins
from sscl_geo.geo.sensor import Sensor
from sscl_geo.ops.scaling import centidecibel, harmonised, is_power, physical

SENSORS: dict[str, Sensor] = {
    name: plugins.find("sscl_geo.sensors", name).SENSOR
    for name in plugins.names("sscl_geo.sensors")
}
NODATA = -32768


@given(st.lists(st.integers(0, 65535), min_size=1), st.sampled_from([0, 1000]))
def test_harmonising_adds_to_observations_alone(dn: list[int], harmonise: int) -> None:
    found = harmonised(np.array(dn, np.uint16), harmonise)
    assert found.dtype == np.uint16
    assert found.tolist() == [0 if n == 0 else min(n + harmonise, 65535) for n in dn]


def test_old_and_new_baseline_tell_the_same_reflectance() -> None:
    sensor = SENSORS["sentinel2_l2a"]
    old, new = np.array([1, 500, 12000], np.uint16), np.array([1001, 1500, 13000], np.uint16)
    reflectance = physical(harmonised(old, 1000), sensor)
    assert np.array_equal(reflectance, physical(harmonised(new, 0), sensor))
    assert reflectance == pytest.approx([0.0001, 0.05, 1.2], abs=1e-6)


@pytest.mark.parametrize("nodata", [-32768.0, 0.0, math.nan, 7.25])
def test_power_is_finite_above_zero_and_not_nodata(nodata: float) -> None:
    samples = np.array(
        [0.1, 7.25, 1e-30, 0.0, -0.0, -1.0, math.nan, math.inf, -math.inf, -32768], np.float32
    )
    expected = [True, nodata != 7.25, True, *[False] * 7]
    assert is_power(samples, nodata).tolist() == expected


@given(st.floats(1e-32, 1e32))
def test_backscatter_is_kept_to_half_a_hundredth_of_a_decibel(power: float) -> None:
    exact = np.float32(power)
    stored = centidecibel(np.array([exact], np.float32), NODATA)
    assert stored.dtype == np.int16
    decibel = 10 * math.log10(float(exact))
    assert float(stored[0]) / 100 == pytest.approx(decibel, abs=0.005001)


def test_backscatter_saturates_and_never_becomes_nodata_unless_it_is_missing() -> None:
    samples = np.array([0.0, 1e-38, 1.0, 1e38, math.inf, math.nan], np.float32)
    assert centidecibel(samples, NODATA).tolist() == [-32767, -32767, 0, 32767, 32767, NODATA]


@pytest.mark.parametrize("sensor", SENSORS.values(), ids=SENSORS)
def test_stored_numbers_become_quantities_and_nodata_becomes_nan(sensor: Sensor) -> None:
    limits = np.iinfo(sensor.dtype)
    stored = np.linspace(limits.min, limits.max, 1001).astype(sensor.dtype)
    stored[0] = sensor.nodata
    values = physical(stored, sensor)
    assert np.array_equal(np.isnan(values), stored == sensor.nodata)
    kept = stored != sensor.nodata
    exact = stored[kept].astype(np.float64) * sensor.scale + sensor.offset
    assert values[kept] == pytest.approx(exact, rel=1e-6, abs=1e-5)
