"""What each kind of land sends back: reflectance by band, backscatter by polarisation, season.

Sources of the numbers, all surface reflectance unless said otherwise:

- forest, soil, water, mud and dry grass: medians of single-cover BigEarthNet patches
  (CDLA-Permissive-1.0; Finland, Lithuania, Serbia, Austria, Portugal, Ireland) and class means of
  the TerraMesh samples (CC-BY-SA-4.0; Tanzania, Brazil, Chile, Canada, Denmark);
- shrub and barren: class means of Harmonized Landsat Sentinel-2 chips by ESA WorldCover;
- built-up: those chips (mean) and, for roof and asphalt separately, typical values of the urban
  spectral library of Kotthaus et al. 2014, doi:10.1016/j.isprsjprs.2014.05.005;
- backscatter (gamma0, dB): medians of the same patches, and the 2018 series over fields and
  settlements of the WorldCereal sample of Flanders (MIT);
- calendar: the 2018 NDVI series of the same sample (harvest, emergence and regrowth).

The numbers are rounded, and within the spread of their source they were set so that a random forest
on single pixels maps unseen land with an overall accuracy of about 0.8.
"""

from typing import Final, NamedTuple

BANDS: Final = (
    "B01",
    "B02",
    "B03",
    "B04",
    "B05",
    "B06",
    "B07",
    "B08",
    "B8A",
    "B09",
    "B10",
    "B11",
    "B12",
)
"""Sentinel-2 bands in the order of `SPECTRA`."""

GSD_M: Final = (
    dict.fromkeys(("B02", "B03", "B04", "B08"), 10)
    | dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12"), 20)
    | dict.fromkeys(("B01", "B09", "B10"), 60)
)
"""Ground sampling distance of each band in metres."""

CLASSES: Final = {
    1: "Forest",
    2: "Shrubland",
    4: "Grassland",
    5: "Wetlands",
    6: "Croplands",
    7: "Urban/Built-up",
    9: "Barren",
    10: "Water",
}
"""Name of each land-cover class by its DFC2020 code."""

SPECTRA: Final = {
    "broadleaf": (18, 23, 45, 26, 78, 255, 320, 335, 345, 348, 1, 165, 78),
    "conifer": (12, 18, 32, 22, 54, 160, 190, 205, 213, 214, 1, 104, 51),
    "shrub": (24, 32, 56, 48, 96, 215, 255, 275, 288, 290, 1, 200, 110),
    "grass": (24, 30, 66, 44, 112, 270, 320, 338, 350, 352, 1, 230, 120),
    "crop": (20, 26, 57, 31, 98, 325, 400, 422, 432, 433, 1, 185, 88),
    "reed": (20, 26, 48, 42, 85, 190, 225, 245, 252, 252, 1, 150, 75),
    "straw": (55, 70, 105, 135, 175, 215, 235, 260, 278, 280, 1, 345, 235),
    "loam": (45, 55, 85, 115, 145, 172, 188, 215, 218, 210, 1, 253, 185),
    "dark soil": (45, 54, 73, 93, 109, 124, 138, 150, 161, 162, 1, 235, 205),
    "mud": (45, 48, 58, 74, 94, 104, 114, 124, 130, 127, 1, 134, 95),
    "gravel": (110, 130, 165, 195, 215, 228, 238, 250, 256, 245, 1, 310, 270),
    "rock": (80, 90, 125, 150, 165, 175, 185, 200, 210, 205, 1, 230, 200),
    "light roof": (150, 180, 200, 215, 225, 235, 242, 250, 255, 248, 1, 265, 235),
    "tile roof": (50, 60, 80, 125, 160, 185, 200, 215, 225, 230, 1, 270, 230),
    "asphalt": (75, 80, 90, 95, 100, 108, 112, 120, 125, 125, 1, 135, 120),
    "clear water": (23, 20, 18, 14, 13, 13, 13, 12, 12, 10, 1, 11, 10),
    "turbid water": (45, 55, 78, 65, 55, 35, 34, 32, 28, 20, 1, 14, 11),
}
"""Reflectance times 1000 of pure materials, in the order of `BANDS`.

B10 lies in a water vapour absorption band: the ground is not seen.
"""


class Cover(NamedTuple):
    """One kind of land within a class; `canopy` grows over `ground` and leaves `residue` behind.

    Attributes:
        land_class: DFC2020 code.
        canopy: Material of the green part.
        ground: Material between the green part before it withers.
        residue: Material between the green part after it has withered.
        green: Green share of the ground (winter, summer).
        season: Days of the year on which half of the green has come and gone.
        vv: Backscatter in dB without and with full green.
        vh: The same, cross-polarised.
        mottle: How much single pixels vary, relative to a field of crops.
    """

    land_class: int
    canopy: str
    ground: str
    residue: str
    green: tuple[float, float]
    season: tuple[int, int]
    vv: tuple[float, float]
    vh: tuple[float, float]
    mottle: float


_ALWAYS: Final = (-200, 600)

COVERS: Final = {
    "broadleaf": Cover(
        1, "broadleaf", "mud", "mud", (0.3, 0.97), (118, 292), (-9.8, -9.2), (-15.9, -14.9), 1.2
    ),
    "conifer": Cover(
        1,
        "conifer",
        "dark soil",
        "mud",
        (0.85, 0.95),
        (110, 300),
        (-10.2, -10.0),
        (-15.9, -15.4),
        1.1,
    ),
    "young forest": Cover(
        1,
        "broadleaf",
        "mud",
        "straw",
        (0.35, 0.86),
        (115, 290),
        (-10.8, -10.3),
        (-17.0, -16.0),
        1.4,
    ),
    "thicket": Cover(
        2,
        "shrub",
        "dark soil",
        "straw",
        (0.5, 0.88),
        (112, 290),
        (-10.9, -10.5),
        (-17.2, -16.5),
        1.5,
    ),
    "heath": Cover(
        2,
        "shrub",
        "dark soil",
        "dark soil",
        (0.45, 0.72),
        (118, 280),
        (-12.0, -11.4),
        (-18.8, -17.8),
        1.6,
    ),
    "meadow": Cover(
        4, "grass", "loam", "straw", (0.6, 0.88), (92, 305), (-11.9, -11.3), (-18.2, -17.2), 1.0
    ),
    "dry grass": Cover(
        4, "grass", "straw", "straw", (0.3, 0.72), (105, 172), (-13.0, -12.4), (-19.8, -18.9), 1.1
    ),
    "reed": Cover(
        5, "reed", "mud", "straw", (0.25, 0.85), (138, 275), (-10.2, -9.4), (-17.4, -16.0), 1.2
    ),
    "wet meadow": Cover(
        5, "grass", "mud", "mud", (0.35, 0.66), (118, 285), (-11.6, -11.0), (-18.4, -17.2), 1.3
    ),
    "open fen": Cover(
        5,
        "reed",
        "clear water",
        "mud",
        (0.15, 0.5),
        (140, 275),
        (-14.0, -11.5),
        (-21.5, -18.5),
        1.8,
    ),
    "cereal": Cover(
        6, "crop", "loam", "straw", (0.35, 0.94), (92, 160), (-12.0, -12.2), (-20.6, -19.2), 0.6
    ),
    "rapeseed": Cover(
        6, "crop", "loam", "loam", (0.4, 0.9), (85, 156), (-11.6, -9.4), (-20.0, -15.4), 0.6
    ),
    "maize": Cover(
        6,
        "crop",
        "dark soil",
        "straw",
        (0.02, 0.94),
        (165, 268),
        (-11.8, -9.4),
        (-21.4, -16.0),
        0.6,
    ),
    "ley": Cover(
        6, "crop", "loam", "loam", (0.5, 0.92), (95, 300), (-11.6, -10.4), (-18.8, -16.4), 0.6
    ),
    "roots": Cover(
        6, "crop", "loam", "loam", (0.04, 0.85), (165, 262), (-12.4, -10.2), (-21.0, -16.8), 0.9
    ),
    "light roof": Cover(
        7,
        "grass",
        "light roof",
        "light roof",
        (0.03, 0.05),
        _ALWAYS,
        (-6.2, -6.2),
        (-15.0, -15.0),
        2.0,
    ),
    "tile roof": Cover(
        7,
        "grass",
        "tile roof",
        "tile roof",
        (0.08, 0.15),
        _ALWAYS,
        (-6.8, -6.8),
        (-15.6, -15.6),
        2.0,
    ),
    "street": Cover(
        7, "grass", "asphalt", "asphalt", (0.05, 0.12), _ALWAYS, (-9.0, -9.0), (-17.6, -17.6), 1.5
    ),
    "garden": Cover(
        7, "grass", "loam", "loam", (0.5, 0.8), (95, 300), (-8.6, -8.6), (-16.4, -16.4), 1.6
    ),
    "town trees": Cover(
        7, "broadleaf", "loam", "loam", (0.35, 0.85), (112, 295), (-8.4, -8.4), (-15.4, -15.0), 1.6
    ),
    "gravel": Cover(
        9, "grass", "gravel", "gravel", (0.0, 0.06), (110, 280), (-13.8, -13.4), (-21.6, -20.8), 1.4
    ),
    "quarry": Cover(
        9, "grass", "rock", "rock", (0.0, 0.06), (110, 280), (-10.8, -10.8), (-19.4, -19.0), 1.8
    ),
    "sparse": Cover(
        9, "grass", "gravel", "gravel", (0.05, 0.3), (112, 200), (-12.8, -12.4), (-20.4, -19.4), 1.4
    ),
    "lake": Cover(
        10,
        "reed",
        "clear water",
        "clear water",
        (0.0, 0.02),
        _ALWAYS,
        (-18.5, -18.5),
        (-27.0, -27.0),
        0.5,
    ),
    "river": Cover(
        10,
        "reed",
        "turbid water",
        "turbid water",
        (0.0, 0.03),
        _ALWAYS,
        (-17.2, -17.2),
        (-25.4, -25.4),
        0.8,
    ),
}
"""The kinds of land by name; their place in this table is their code."""
