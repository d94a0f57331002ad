"""Keeps the finished ranges of a long comparison on the disk, so that one that was stopped can go on.

A folder a run, in the user's cache: ``journal`` with the instant, the ranges and a line for each that is done, and the compared
cells of these beside it. The journal is locked while the run goes on, and the lock goes with the process, however it ends.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from feastra_nb.connection.files import cache_dir, make_private
from feastra_nb.skew.cells import read_chunk, write_chunk
from feastra_nb.storage.scanning import TokenRange

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from feastra_nb.skew.cells import CellChunk

KEPT_RANGES = 8  # from so many on a comparison takes long enough to be gone on with
_JOURNAL = "journal"


def folder_of(*what: Any) -> Path:
    """Return the folder of all runs of one comparison, by what it is of."""
    name = hashlib.blake2b(repr(what).encode(), digest_size=12).hexdigest()
    return cache_dir() / "skew" / name


@dataclass(slots=True, eq=False)
class KeptRanges:
    """The finished ranges of one run.

    Parameters
    ----------
    folder
        Of this run.
    t0_us
        The instant that is compared, microseconds since the epoch.
    ranges
        All of them.
    done
        By the number of a range, how many chunks of cells it has.
    """

    folder: Path
    t0_us: int
    ranges: Sequence[TokenRange]
    done: dict[int, int] = field(default_factory=dict)
    _journal: IO[str] | None = None

    @classmethod
    def begin(cls, runs: Path, t0_us: int, ranges: Sequence[TokenRange]) -> KeptRanges:
        """Begin a run; one that was stopped before is deleted."""
        before = cls.stopped(runs)
        if before is not None:
            before.forget()
        folder = Path(tempfile.mkdtemp(dir=make_private(runs)))
        kept = cls(folder, t0_us, ranges)
        kept._open()
        kept._write({"t0_us": t0_us, "ranges": [list(each) for each in ranges]})
        return kept

    @classmethod
    def stopped(cls, runs: Path) -> KeptRanges | None:
        """Return the last run that was stopped, to go on with it; None where there is none. Older ones are deleted."""
        found: KeptRanges | None = None
        journals = sorted(runs.glob(f"*/{_JOURNAL}"), key=lambda path: path.stat().st_mtime) if runs.is_dir() else []
        for journal in reversed(journals):
            kept = cls._read(journal.parent)
            if kept is None:
                continue
            if found is None and kept.done:
                found = kept
            else:
                kept.forget()
        return found

    @classmethod
    def _read(cls, folder: Path) -> KeptRanges | None:
        """Return a run with its journal locked; None for one that goes on, or whose journal says nothing."""
        kept = cls(folder, 0, [])
        if not kept._open():
            return None
        lines = (folder / _JOURNAL).read_text().splitlines()
        try:
            first, *rest = [json.loads(line) for line in lines]
        except ValueError:  # the last line was cut short, or the first was never written
            first, *rest = [json.loads(line) for line in lines[:-1]] or [{"t0_us": 0, "ranges": []}]
        kept.t0_us, kept.ranges = first["t0_us"], [TokenRange(*each) for each in first["ranges"]]
        kept.done = {line["range"]: line["chunks"] for line in rest}
        return kept

    def _open(self) -> bool:
        import fcntl

        file = (self.folder / _JOURNAL).open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._journal = file
        return True

    def _write(self, line: dict[str, Any]) -> None:
        if self._journal is not None:
            self._journal.write(json.dumps(line) + "\n")
            self._journal.flush()

    def keep(self, number: int, chunks: Sequence[CellChunk]) -> None:
        """Keep the cells of a range that is done."""
        for place, chunk in enumerate(chunks):
            write_chunk(f"{self.folder}/{number}-{place}", chunk)
        self._write({"range": number, "chunks": len(chunks)})
        self.done[number] = len(chunks)

    def chunks(self) -> Iterator[CellChunk]:
        """Yield the cells of the ranges that are done."""
        for number, chunks in self.done.items():
            for place in range(chunks):
                yield read_chunk(f"{self.folder}/{number}-{place}")

    def left(self) -> list[int]:
        """Return the numbers of the ranges that are not done."""
        return [number for number in range(len(self.ranges)) if number not in self.done]

    def close(self) -> None:
        """Let another run go on with it."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def forget(self) -> None:
        """Delete what was kept: all is done, or nobody wants it. Cells that are in use stay readable."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)
