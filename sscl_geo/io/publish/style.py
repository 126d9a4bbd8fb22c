"""How GIS shall show a map's classes: QGIS styles, GDAL's sidecars, and tables of the legend."""

import json
from xml.etree import ElementTree as ET

from sscl_geo.geo.legend import Legend

_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"


def qgis_style(legend: Legend) -> bytes:
    """Return a QGIS style (QML) that gives a raster of classes its colours and names."""
    root = ET.Element("qgis", version="3.28", styleCategories="Symbology")
    pipe = ET.SubElement(root, "pipe")
    renderer = ET.SubElement(
        pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1"
    )
    palette = ET.SubElement(renderer, "colorPalette")
    for item in legend.classes:
        ET.SubElement(
            palette,
            "paletteEntry",
            value=str(item.value),
            color=item.color,
            alpha="255",
            label=item.name,
        )
    return _DOCTYPE.encode() + _text(root)


def category_sidecar(legend: Legend) -> bytes:
    """Return the `.aux.xml` in which GDAL keeps the names of a GeoTIFF's values."""
    root = ET.Element("PAMDataset")
    root.append(categories(legend, ET.SubElement(root, "PAMRasterBand", band="1")))
    return _text(root)


def categories(legend: Legend, band: ET.Element) -> ET.Element:
    """Give a band of GDAL's XML the names of its values; return it."""
    names = dict(zip(legend.values, legend.names, strict=True))
    told = ET.SubElement(band, "CategoryNames")
    for value in range(max(names) + 1):
        ET.SubElement(told, "Category").text = names.get(value, "")
    return band


def legend_csv(legend: Legend) -> bytes:
    """Return value, name and colour of each class as CSV."""
    rows = [f'{item.value},"{_quoted(item.name)}",{item.color}' for item in legend.classes]
    return "\n".join(["value,name,color", *rows, ""]).encode()


def legend_json(legend: Legend) -> bytes:
    """Return the legend as JSON, as `--legend` takes it."""
    return (json.dumps(legend.model_dump(mode="json"), indent=1) + "\n").encode()


def _quoted(text: str) -> str:
    return text.replace('"', '""')


def _text(root: ET.Element) -> bytes:
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8")
    return text + b"\n"
