"""What Sentinel-1 and Sentinel-2 see of a landscape under a clear sky."""

from typing import Final

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import gaussian_filter
from scipy.special import ndtr
from scipy.stats import gamma

from sscl_geo.demo.landscape import MOTTLE, Landscape
from sscl_geo.demo.randomfield import correlated_normal
from sscl_geo.demo.signatures import BANDS, COVERS, GSD_M, SPECTRA

LOOKS: Final = 4.4
"""Equivalent number of looks of Sentinel-1 IW GRD (ESA, Sentinel-1 Product Definition)."""

_WATER: Final = 10
_GREEN: Final = np.array([cover.green for cover in COVERS.values()], np.float32)
_SEASON: Final = np.array([cover.season for cover in COVERS.values()], np.float32)
_BACKSCATTER_DB: Final = {
    "VV": np.array([cover.vv for cover in COVERS.values()], np.float32),
    "VH": np.array([cover.vh for cover in COVERS.values()], np.float32),
}


def reflectance(
    landscape: Landscape, day_of_year: int, rng: np.random.Generator
) -> dict[str, Float32[np.ndarray, "_ _"]]:
    """Observe surface reflectance, 0 to 1, in the thirteen Sentinel-2 bands without clouds.

    Each band is blurred by the instrument and lies on its own grid of 10, 20 or 60 m. `rng` draws
    what changes from date to date: the state of the fields, the residual atmosphere and the noise.
    """
    green, withered = _vegetation(landscape, day_of_year, rng)
    return {
        band: _sensed(_ground(landscape, band, green, withered), GSD_M[band] // 10, rng)
        for band in BANDS
    }


def backscatter(
    landscape: Landscape, day_of_year: int, rng: np.random.Generator
) -> dict[str, Float32[np.ndarray, "y x"]]:
    """Observe gamma0 in linear power, VV and VH, at 10 m with correlated speckle of 4.4 looks.

    `rng` draws the speckle, the moisture of open soil and the wind on the water.
    """
    green, _ = _vegetation(landscape, day_of_year, rng)
    moisture_db, wind_db = rng.normal(0, 0.8), abs(rng.normal(0, 1.6))
    weather_db = np.where(landscape.classes == _WATER, wind_db, moisture_db * (1 - green))
    variation_db = landscape.roughness_db * MOTTLE[landscape.covers] + weather_db
    power = {
        polarisation: 10 ** ((_mix(ends[landscape.covers], green) + variation_db) / 10)
        for polarisation, ends in _BACKSCATTER_DB.items()
    }
    return {name: _speckled(gaussian_filter(mean, 0.7), rng) for name, mean in power.items()}


def _vegetation(
    landscape: Landscape, day_of_year: int, rng: np.random.Generator
) -> tuple[Float32[np.ndarray, "y x"], Float32[np.ndarray, "y x"]]:
    """Return the green share of the ground and the withered share of what is not green."""
    managed = rng.normal(0, 0.05, int(landscape.patches.max()) + 1)[landscape.patches]
    day = day_of_year - landscape.delay_days
    grown, withered = (
        1 / (1 + np.exp((turn - day) / 8)) for turn in np.moveaxis(_SEASON[landscape.covers], -1, 0)
    )
    season = _mix(_GREEN[landscape.covers], grown * (1 - withered))
    swing = np.minimum(1, 6 * season)
    green = np.clip(season + swing * (landscape.greenness + managed), 0, 1)
    return green.astype(np.float32), withered.astype(np.float32)


def _mix(
    ends: Float32[np.ndarray, "y x 2"], share: Float32[np.ndarray, "y x"]
) -> Float32[np.ndarray, "y x"]:
    """Interpolate between two ends."""
    mixed: Float32[np.ndarray, "y x"] = ends[..., 0] * (1 - share) + ends[..., 1] * share
    return mixed


def _ground(
    landscape: Landscape,
    band: str,
    green: Float32[np.ndarray, "y x"],
    withered: Float32[np.ndarray, "y x"],
) -> Float32[np.ndarray, "y x"]:
    """Mix the materials of every pixel linearly and shade them."""
    canopy, ground, residue = np.moveaxis(_material(band)[landscape.covers], -1, 0)
    below = ground + withered * (residue - ground)
    shade = landscape.brightness + (landscape.dryness if band in {"B11", "B12"} else 0)
    seen: Float32[np.ndarray, "y x"] = (green * canopy + (1 - green) * below) * np.exp(shade)
    return seen


def _material(band: str) -> Float32[np.ndarray, "cover 3"]:
    """Return the reflectance of canopy, ground and residue of every kind of land."""
    spectrum = {name: values[BANDS.index(band)] / 1000 for name, values in SPECTRA.items()}
    return np.array(
        [[spectrum[name] for name in cover[1:4]] for cover in COVERS.values()], np.float32
    )


def _sensed(
    ground: Float32[np.ndarray, "y x"], ratio: int, rng: np.random.Generator
) -> Float32[np.ndarray, "_ _"]:
    """Blur, sample at `ratio` pixels and add a haze residual and noise.

    The blur and the sampling together pass 15 to 30 % at the Nyquist frequency, as the
    Sentinel-2 User Handbook (ESA 2015) requires of the instrument.
    """
    blurred = gaussian_filter(ground, 0.5 * ratio)
    size_px = len(ground) // ratio
    sampled = blurred.reshape(size_px, ratio, size_px, ratio).mean((1, 3))
    haze = rng.normal(0, 0.003) + sampled * rng.normal(1, 0.02)
    seen = haze + rng.normal(0, 0.002, sampled.shape)
    clipped: Float32[np.ndarray, "_ _"] = np.clip(seen, 0, 1).astype(np.float32)
    return clipped


def _speckled(
    mean: Float32[np.ndarray, "y x"], rng: np.random.Generator
) -> Float32[np.ndarray, "y x"]:
    """Multiply by gamma-distributed speckle of mean one and 4.4 looks, correlated like GRD at 10 m.

    TerraMesh samples show a correlation of neighbours of 0.6.
    """
    levels = np.linspace(-6, 6, 4097)
    quantile = gamma.ppf(ndtr(levels), LOOKS, scale=1 / LOOKS)
    speckle = np.interp(correlated_normal(rng, mean.shape, 0.7), levels, quantile)
    received: Float32[np.ndarray, "y x"] = (mean * speckle).astype(np.float32)
    return received
