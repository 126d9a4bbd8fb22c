"""Forms in which interpreters of points fill in classes with QGIS."""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from sscl_geo.geo.grid import GSD
from sscl_geo.geo.legend import Legend

_OPEN, _FILLED = "215,48,31,255", "31,107,44,255"

_NULL = "{2839923C-8B7D-419E-B84B-CA2FE9B80EC7}"
"""What a value map of QGIS stores as NULL (QgsValueMapFieldFormatter::NULL_VALUE)."""


def interpreting_form(legend: Legend, answer: str, fixed: Sequence[str]) -> str:
    """Return a QGIS style (QML): open points red, filled ones green, and a form with the legend.

    Args:
        legend: The classes to choose from.
        answer: The column for a class's value.
        fixed: Columns that cannot be edited.
    """
    root = ET.Element("qgis", version="3.28.0", styleCategories="AllStyleCategories")
    fields = ET.SubElement(root, "fieldConfiguration")
    choices = [("", "not yet"), *((str(item.value), item.name) for item in legend.classes)]
    _widget(fields, answer, "ValueMap", choices)
    _widget(fields, "note", "TextEdit", [])
    editable = ET.SubElement(root, "editable")
    for name in fixed:
        _widget(fields, name, "TextEdit", [])
        ET.SubElement(editable, "field", name=name, editable="0")
    renderer = ET.SubElement(root, "renderer-v2", type="RuleRenderer", symbollevels="0")
    rules = ET.SubElement(renderer, "rules", key="root")
    symbols = ET.SubElement(renderer, "symbols")
    states = (("open", f'"{answer}" IS NULL', _OPEN), ("interpreted", "ELSE", _FILLED))
    for index, (label, condition, color) in enumerate(states):
        ET.SubElement(rules, "rule", key=label, symbol=str(index), label=label, filter=condition)
        _symbol(symbols, str(index), color)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def _widget(fields: ET.Element, name: str, kind: str, choices: Sequence[tuple[str, str]]) -> None:
    widget = ET.SubElement(ET.SubElement(fields, "field", name=name), "editWidget", type=kind)
    options = ET.SubElement(ET.SubElement(widget, "config"), "Option", type="Map")
    if not choices:
        return
    listed = ET.SubElement(options, "Option", name="map", type="List")
    for value, told in choices:
        choice = ET.SubElement(listed, "Option", type="Map")
        text = value or _NULL
        ET.SubElement(choice, "Option", name=told, type="QString", value=text)


def _symbol(symbols: ET.Element, name: str, color: str) -> None:
    """Draw a ring that is always seen, and around the pixel a square of its size."""
    symbol = ET.SubElement(symbols, "symbol", name=name, type="marker", alpha="1")
    for shape, size, unit in (
        ("circle", "4", "MM"),
        ("square", str(GSD), "RenderMetersInMapUnits"),
    ):
        layer = ET.SubElement(symbol, "layer", {"class": "SimpleMarker"}, enabled="1")
        options = ET.SubElement(layer, "Option", type="Map")
        drawn = {
            "name": shape,
            "color": "0,0,0,0",
            "outline_color": color,
            "outline_width": "0.5",
            "outline_width_unit": "MM",
            "size": size,
            "size_unit": unit,
        }
        for key, value in drawn.items():
            ET.SubElement(options, "Option", name=key, type="QString", value=value)
