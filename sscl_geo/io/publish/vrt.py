"""GDAL virtual rasters: many files of one zone as one raster."""

from collections.abc import Sequence
from typing import NamedTuple
from xml.etree import ElementTree as ET

from pyproj import CRS

from sscl_geo.geo.grid import Grid, Window
from sscl_geo.geo.legend import Legend
from sscl_geo.io.publish.cog import BLOCK_PX
from sscl_geo.io.publish.style import categories


class Piece(NamedTuple):
    """A file of a mosaic: its path, relative to the mosaic's, and its pixels in the grid."""

    path: str
    window: Window


def virtual_mosaic(
    grid: Grid, pieces: Sequence[Piece], nodata: int, legend: Legend | None
) -> bytes:
    """Return a VRT of one band of uint8 that holds its pieces where they lie in a grid.

    Args:
        grid: The grid.
        pieces: Its files.
        nodata: Value of pixels without data, and outside of all pieces.
        legend: Names and colours of values, for classes.
    """
    block = grid.block(Window(0, 0, *grid.shape))
    root = ET.Element("VRTDataset", rasterXSize=str(block.width), rasterYSize=str(block.height))
    ET.SubElement(root, "SRS").text = CRS.from_user_input(grid.crs).to_wkt()
    ET.SubElement(root, "GeoTransform").text = ", ".join(map(repr, block.transform.to_gdal()))
    band = ET.SubElement(root, "VRTRasterBand", dataType="Byte", band="1")
    ET.SubElement(band, "NoDataValue").text = str(nodata)
    if legend is not None:
        ET.SubElement(band, "ColorInterp").text = "Palette"
        _colors(legend, band)
        categories(legend, band)
    for piece in pieces:
        _source(piece, band)
    # GDAL takes them from the overviews of the files.
    levels = [2**n for n in range(1, 12) if max(grid.shape) > BLOCK_PX * 2 ** (n - 1)]
    if levels:
        told = ET.SubElement(root, "OverviewList", resampling="nearest")
        told.text = " ".join(map(str, levels))
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8")
    return text + b"\n"


def _colors(legend: Legend, band: ET.Element) -> None:
    table = ET.SubElement(band, "ColorTable")
    colors = {item.value: (*item.rgb, 255) for item in legend.classes}
    for value in range(max(colors) + 1):
        red, green, blue, alpha = colors.get(value, (0, 0, 0, 0))
        ET.SubElement(table, "Entry", c1=str(red), c2=str(green), c3=str(blue), c4=str(alpha))


def _source(piece: Piece, band: ET.Element) -> None:
    source = ET.SubElement(band, "SimpleSource")
    ET.SubElement(source, "SourceFilename", relativeToVRT="1").text = piece.path
    ET.SubElement(source, "SourceBand").text = "1"
    height, width = piece.window.height, piece.window.width
    size = {"xSize": str(width), "ySize": str(height)}
    ET.SubElement(
        source,
        "SourceProperties",
        RasterXSize=str(width),
        RasterYSize=str(height),
        DataType="Byte",
        BlockXSize=str(BLOCK_PX),
        BlockYSize=str(BLOCK_PX),
    )
    corner = {"xOff": str(piece.window.x), "yOff": str(piece.window.y)}
    ET.SubElement(source, "SrcRect", {"xOff": "0", "yOff": "0", **size})
    ET.SubElement(source, "DstRect", {**corner, **size})
