"""What preparing a text kept and dropped, and why: every document counted, a few shown."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data.text import SPLITS
from shared.home import write_atomically

SCHEMA = 1
EXAMPLES = 3  # of what was dropped, for each reason
BEGINNING = 160  # characters
CARD, PAGE = "data_card.json", "README.md"


@dataclass
class Amount:
    """Documents, and their size in bytes of UTF-8 as the reader gave them."""

    documents: int = 0
    bytes: int = 0

    def add(self, other: "Amount") -> None:
        """Count more."""
        self.documents += other.documents
        self.bytes += other.bytes


@dataclass
class Dropped(Amount):
    """What was dropped for one reason."""

    examples: list[dict[str, str]] = field(default_factory=list)


@dataclass
class Counts:
    """Of one split, or a part of it: read = kept + dropped."""

    read: Amount = field(default_factory=Amount)
    kept: Amount = field(default_factory=Amount)
    changed: int = 0  # kept documents that normalisation or a rule altered
    written: int = 0  # bytes of the kept documents as they are now
    dropped: dict[str, Dropped] = field(default_factory=dict)

    def keep(self, size: int, written: int, changed: bool) -> None:
        """Count a document of `size` bytes that is kept with `written` bytes."""
        self.read.add(Amount(1, size))
        self.kept.add(Amount(1, size))
        self.changed += changed
        self.written += written

    def drop(self, reason: str, size: int, id: str, text: str, detail: str = "") -> None:
        """Count a document of `size` bytes that is dropped."""
        self.read.add(Amount(1, size))
        beginning = " ".join(text[:BEGINNING].split())
        example = {"id": id, "beginning": beginning, "detail": detail}
        self._drop(reason, Dropped(1, size, [example]))

    def add(self, other: "Counts") -> None:
        """Count another part too."""
        self.read.add(other.read)
        self.kept.add(other.kept)
        self.changed += other.changed
        self.written += other.written
        for reason, dropped in other.dropped.items():
            self._drop(reason, dropped)

    def _drop(self, reason: str, more: Dropped) -> None:
        dropped = self.dropped.setdefault(reason, Dropped())
        dropped.add(more)
        dropped.examples = (dropped.examples + more.examples)[:EXAMPLES]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Counts":
        """The inverse of `dataclasses.asdict`."""
        return cls(
            read=Amount(**values["read"]),
            kept=Amount(**values["kept"]),
            changed=values["changed"],
            written=values["written"],
            dropped={reason: Dropped(**some) for reason, some in values["dropped"].items()},
        )


@dataclass(frozen=True)
class DataCard:
    """What a prepared text is made of; lies beside it as data_card.json and README.md."""

    name: str
    version: str
    licence: str
    source: dict[str, str]  # name, version, sha256
    settings: dict[str, Any]
    packages: dict[str, str]  # name -> version
    passed_over: dict[str, dict[str, int]]  # by the reader: split -> reason -> documents
    splits: dict[str, Counts]
    sha256: str  # over the prepared files

    def save(self, folder: Path) -> None:
        """Write README.md, then data_card.json: where that stands, the text is whole."""
        write_atomically(folder / PAGE, self.markdown())
        values = {"schema": SCHEMA} | asdict(self)
        write_atomically(folder / CARD, json.dumps(values, indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "DataCard":
        """The card in `folder`."""
        values = json.loads((folder / CARD).read_text(encoding="utf-8"))
        del values["schema"]
        splits = {split: Counts.from_dict(some) for split, some in values["splits"].items()}
        return cls(**values | {"splits": splits})

    def markdown(self) -> str:
        """The card for people."""
        settings = ", ".join(f"{key} {_words(value)}" for key, value in self.settings.items())
        lines = [
            f"# {self.name}",
            "",
            f"{self.source['name']} version {self.source['version']} "
            f"(sha256 {self.source['sha256'][:16]}), cleaned: {settings}. Licence: {self.licence}.",
            "",
            "Rules: Gopher (Rae et al. 2021), C4 (Raffel et al. 2020), by "
            + ", ".join(f"{name} {version}" for name, version in self.packages.items())
            + ".",
            "",
            *self._table(),
            "",
            *self._dropped(),
        ]
        return "\n".join(lines).rstrip() + "\n"

    def _table(self) -> list[str]:
        """Read and kept, by split."""
        rows = [
            "| split | documents read | kept | bytes read | kept | written | altered |",
            "|---|---|---|---|---|---|---|",
        ]
        for split in SPLITS:
            n = self.splits[split]
            rows.append(
                f"| {split} | {n.read.documents:,} | {_part(n.kept.documents, n.read.documents)} "
                f"| {n.read.bytes:,} | {_part(n.kept.bytes, n.read.bytes)} | {n.written:,} "
                f"| {n.changed:,} |"
            )
        return rows

    def _dropped(self) -> list[str]:
        """Documents dropped, by reason and split, and examples."""
        splits = [self.splits[split].dropped for split in SPLITS]
        reasons = sorted({reason for dropped in splits for reason in dropped})
        rows = [f"| dropped for | {' | '.join(SPLITS)} |", "|---|---|---|---|"]
        examples = ["", "Examples of what was dropped:", ""]
        for reason in reasons:
            found = [dropped.get(reason, Dropped()) for dropped in splits]
            rows.append(f"| {reason} | {' | '.join(f'{some.documents:,}' for some in found)} |")
            for example in [one for some in found for one in some.examples][:EXAMPLES]:
                detail = f" ({example['detail']})" if example["detail"] else ""
                examples.append(f"- {reason}{detail}, `{example['id']}`: {example['beginning']}")
        over = [
            f"The reader passed over, in {split}: "
            + ", ".join(f"{number:,} {reason}" for reason, number in some.items())
            + "."
            for split, some in self.passed_over.items()
            if some
        ]
        if not reasons:
            return ["Nothing was dropped.", "", *over]
        return [*rows, "", *over, *examples]


def _part(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.1%})" if whole else f"{part:,}"


def _words(value: Any) -> str:
    return " + ".join(value) if isinstance(value, list | tuple) else str(value)
