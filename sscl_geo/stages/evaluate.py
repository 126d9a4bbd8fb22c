"""How well a map agrees with reference labels."""

from pathlib import Path

from sscl_geo.io.agreement import agreement
from sscl_geo.io.disk import write_whole
from sscl_geo.io.location import AnyLocation
from sscl_geo.ops.scores import Evaluation


def evaluate(
    map_path: AnyLocation, labels_path: AnyLocation, out: Path | None = None
) -> Evaluation:
    """Compare a map with labels on the same pixels; keep all scores as JSON at `out`.

    Raises:
        InvalidInputError: Grids or legends differ, or no labelled pixel is mapped.
    """
    found = agreement(map_path, labels_path)
    if out is not None:
        write_whole(out, found.model_dump_json(indent=1).encode())
    return found
