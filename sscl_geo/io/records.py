"""Tables for analysts, as CSV or Parquet."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from sscl_geo.errors import InvalidInputError
from sscl_geo.io.disk import write_whole

KINDS: Final = (".csv", ".parquet")

Record = Mapping[str, JsonValue]


def check_table(path: Path) -> None:
    """Check that a path ends as a kind of table.

    Raises:
        InvalidInputError: The suffix is another.
    """
    if path.suffix.lower() not in KINDS:
        raise InvalidInputError(f"--out {path}: must end in {' or '.join(KINDS)}")


def write_table(path: Path, records: Sequence[Record], note: str) -> None:
    """Write records whole, by the suffix of the path.

    Args:
        path: The file; replaced if it exists.
        records: Rows with the same columns.
        note: What whoever reads it must know: a column `note`, and in Parquet the file's
            description too.
    """
    if path.suffix.lower() == ".csv":
        write_whole(path, table_csv(records, note))
        return
    frame = _frame(records, note)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    told = {**(table.schema.metadata or {}), b"description": note.encode()}
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(told), buffer)
    write_whole(path, buffer.getvalue())


def table_csv(records: Sequence[Record], note: str) -> bytes:
    """Return records as CSV, as `write_table` writes them."""
    return _frame(records, note).to_csv(index=False).encode()


def _frame(records: Sequence[Record], note: str) -> pd.DataFrame:
    return pd.DataFrame([{**record, "note": record.get("note") or note} for record in records])
