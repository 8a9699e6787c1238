"""Parquet as records, through DuckDB.

DuckDB is one wheel without dependencies, reads every encoding and codec in streams, and keeps to
a memory limit; pyarrow is five times as large. It is imported when a Parquet file is read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.data.model import Fault
from studio.data.reading import Record, Source

if TYPE_CHECKING:
    import duckdb

MEMORY = "512MB"
_BATCH = 16


def rows(source: Source) -> Iterator[Record]:
    """Yield the rows; `line` is the row, from 1. Cells over the record limit are faults."""
    import duckdb  # loads a large library that nothing else needs

    row = 0
    with connection() as con, _plain_name(source.path) as path:
        try:
            con.execute("SET disable_parquet_prefetching = true")  # a row group may be gigabytes
            total = con.execute("SELECT num_rows FROM parquet_file_metadata(?)", [path]).fetchall()
            described = con.execute("DESCRIBE SELECT * FROM read_parquet(?)", [path]).fetchall()
            names = [str(item[0]) for item in described]
            kinds = [str(item[1]) for item in described]
            result = con.execute(_query(names, kinds, source.limits.record_bytes), [path])
            while batch := result.fetchmany(_BATCH):
                for cells in batch:
                    row += 1
                    size = cells[-1]
                    if size is None or size <= source.limits.record_bytes:
                        yield Record(row, dict(zip(names, cells, strict=False)))
                    else:
                        values = _sizes(size, source.limits.record_bytes)
                        yield Record(row, fault=Fault(row, "record_size", values))
                source.done = source.size * row // max(1, total[0][0])
        except duckdb.OutOfMemoryException:
            row += 1
            yield Record(row, fault=Fault(row, "memory", {"limit": MEMORY}))
        except duckdb.Error as error:
            row += 1
            text = str(error).splitlines()[0][:120].replace(str(path), source.path.name)
            yield Record(row, fault=Fault(row, "parquet", {"text": text}))


@contextmanager
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """Open DuckDB in memory, with little of it, and without loading extensions."""
    import duckdb  # loads a large library that nothing else needs

    config: dict[str, Any] = {
        "memory_limit": MEMORY,
        "threads": 1,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "temp_directory": "",
    }
    con = duckdb.connect(config=config)
    con.execute("SET enable_progress_bar = false")
    try:
        yield con
    finally:
        con.close()


def _query(names: list[str], kinds: list[str], limit: int) -> str:
    """Select every column, and last the size of the row; texts of too large a row stay behind."""
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    sizes = [_size(name, kind) for name, kind in zip(quoted, kinds, strict=True)]
    total = " + ".join(f"coalesce({size}, 0)" for size in sizes) or "0"
    chosen = (f"CASE WHEN {total} > {limit} THEN NULL ELSE {name} END" for name in quoted)
    return f"SELECT {', '.join(chosen)}, {total} FROM read_parquet(?)"


def _size(name: str, kind: str) -> str:
    """Return the expression for the bytes of a cell; of lists and structs as they would print."""
    if kind == "VARCHAR":
        return f"strlen({name})"
    if kind == "BLOB":
        return f"octet_length({name})"
    return f"strlen({name}::VARCHAR)" if "(" in kind or "[" in kind else "8"


def _sizes(size: int, limit: int) -> dict[str, float]:
    return {"mib": round(size / (1 << 20), 1), "limit": round(limit / (1 << 20), 1)}


@contextmanager
def _plain_name(path: Path) -> Iterator[str]:
    """Give a name without the marks that DuckDB takes for a pattern of names."""
    if not set(str(path)) & set("*?[]{}"):
        yield str(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, "data.parquet")
        link.symlink_to(path.resolve())
        yield str(link)
