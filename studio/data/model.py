"""What the parts of this package hand to each other and to the page. Values only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["alpaca", "sharegpt", "openai", "preference", "kto", "pretrain"]
Format = Literal["json", "jsonl", "csv", "tsv", "parquet"]

KINDS: tuple[Kind, ...] = ("alpaca", "sharegpt", "openai", "preference", "kto", "pretrain")

ROLES = (
    "prompt",
    "query",
    "response",
    "history",
    "system",
    "messages",
    "tools",
    "images",
    "chosen",
    "rejected",
    "kto_tag",
    "text",
)
"""What a column can be, in LLaMA-Factory's words; `text` is plain text for pre-training."""

KEPT_CODES = frozenset({"duplicate", "long"})
"""Faults of rows that are kept: they can be trained on, and filtered out where not wanted."""

Mapping = dict[str, str]
"""Column of the file -> one of ROLES."""

Tell = Callable[[int, int], None]
"""Called with bytes done and bytes in all, now and then."""


@dataclass(frozen=True)
class Limits:
    """Bounds that keep memory small whatever a file contains."""

    record_bytes: int = 16 << 20
    """Longest record; a longer one is a fault and the scan goes on behind it."""
    long_chars: int = 100_000
    """Samples with more characters are told as over-long, and kept."""
    faults: int = 10_000
    """Faults kept one by one; further ones are only counted."""
    faults_in_a_row: int = 200_000
    """Reading stops after so many records that could not be read, with none between that could."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with one record. Sentence: `data.fault.<code>` with `values` filled in."""

    line: int
    """Line of the file, counted from 1; of a Parquet file the row."""
    code: str
    values: dict[str, Any] = field(default_factory=dict)
    kept: bool = False
    """True when the row is in the data set all the same."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Report:
    """What a check of every record of a file found."""

    format: Format
    encoding: str
    """utf-8, utf-8-sig, utf-16, gb18030; empty for Parquet."""
    kind: Kind | None
    mapping: Mapping
    unused: tuple[str, ...]
    """Columns that nothing was made of."""
    read: int
    """Records in the file, good or not."""
    good: int
    """Rows that can be trained on."""
    pictures: int
    counts: dict[str, int]
    """Fault code -> how often; those of kept rows too."""
    repaired: dict[str, int]
    """Repair code (`data.repair.<code>`) -> how often."""
    faults: tuple[Fault, ...]
    """The first ones, in the order of the file."""

    @property
    def refused(self) -> int:
        """Records that were left out."""
        return self.read - self.good

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Look:
    """The head of a file as the studio understands it; nothing is imported."""

    format: Format
    encoding: str
    kind: Kind | None
    """None when it is not recognised: a mapping by hand is needed."""
    columns: tuple[str, ...]
    mapping: Mapping
    unused: tuple[str, ...]
    raw: tuple[dict[str, Any], ...]
    """The first records as they are in the file, long texts cut."""
    rows: tuple[dict[str, Any], ...]
    """The same records as they would be kept; fewer when some are at fault."""
    faults: tuple[Fault, ...]
    """Faults among the records looked at."""
    repaired: dict[str, int]
    bytes: int
    whole: bool
    """True when the file was read to its end."""


@dataclass(frozen=True)
class DataSet:
    """One version of one data set."""

    name: str
    version: int
    """1, 2, ...; 0 for a built-in sample, which has no versions."""
    path: Path
    kind: Kind
    rows: int
    bytes: int
    pictures: int
    """Pictures that the rows show."""
    origin: dict[str, Any]
    """Where it came from: `{"from": "file" | "operation" | "merge" | "chat" | "sample", ...}`."""
    created_at: float
    built_in: bool = False
    faults: int = 0
    """Records of the original that were left out when it was imported."""
    newest: bool = True

    @property
    def key(self) -> str:
        """The name in dataset_info.json that means exactly this version."""
        return self.name if self.built_in else f"{self.name}.v{self.version}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "path": str(self.path), "key": self.key}


@dataclass(frozen=True, kw_only=True)
class Deduplicate:
    """Keep the first of equal rows."""

    by: Literal["exact", "text"] = "exact"
    """exact: the same in every column; text: the same words, whatever case, width and spaces."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Keep the rows that meet every condition given."""

    min_chars: int | None = None
    max_chars: int | None = None
    contains: str = ""
    """Letters that must occur, upper and lower case alike."""
    matches: str = ""
    """Regular expression (RE2, linear in time) that must be found."""
    exclude: bool = False
    """True drops the rows that contain or match, instead of keeping them."""
    drop: tuple[str, ...] = ()
    """Codes of KEPT_CODES whose rows are dropped."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Make two data sets, `<name>-train` and `<name>-val`."""

    val: float = 0.1
    """Below 1 a share, else a number of rows."""
    seed: int = 42
    train_name: str = ""
    val_name: str = ""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Draw `rows` rows without putting back; their order stays."""

    rows: int
    seed: int = 42


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Write the same conversations in another form; refused where something would be lost."""

    kind: Literal["alpaca", "sharegpt", "openai"]


Operation = Deduplicate | Filter | Split | Sample | Convert

OPERATIONS: dict[str, type[Operation]] = {
    "deduplicate": Deduplicate,
    "filter": Filter,
    "split": Split,
    "sample": Sample,
    "convert": Convert,
}
"""Operations by the name they have in `python app.py data apply` and in metadata."""
