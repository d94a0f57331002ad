"""The command ``feastra demo``: a year of real flights through the whole of it, in a terminal, with times.

It works in a folder, a project and a keyspace of its own, begins anew each time and leaves only its two pictures.
"""

from __future__ import annotations

import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from tqdm import tqdm

from feastra_nb import flights
from feastra_nb.connection.cluster import quoted
from feastra_nb.connection.targets import Local
from feastra_nb.workspace import connect

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from feastra_nb.flights import FlightViews
    from feastra_nb.skew.report import SkewReport
    from feastra_nb.workspace import Workspace

WIDTH = 100  # characters of a line
DATA = ".feastra-demo"  # folder of the demo's own registry and parquet files; deleted and made anew
VIEW = "plane_stats"
BACK = timedelta(days=90)  # how far "then" lies behind the newest event
SPINE_ROWS = 1_000  # aircraft whose past is compared with the point-in-time join
SHOWN = 5  # rows of a sample
STALE, CORRECTED = 40, 25  # aircraft that each fault is planted in
REPAIRED = timedelta(days=15)  # how far back the faults reach: aircraft of the data's last week, at most two weeks ago
BATCHES = (1, 10, 100)  # entities a request
LOAD_S = 4.0  # how long each batch size is measured


def run(directory: str | Path = "feastra-demo", *, name: str = "default", keep: bool = False) -> None:
    """Run the demo and print what it does.

    Parameters
    ----------
    directory
        Folder that gets the two pictures; made if it is missing.
    name
        Which local Cassandra.
    keep
        Keep the data and the keyspace too, so that a notebook can go on with them.

    Raises
    ------
    LocalNodeFailed
        The local Cassandra could not be fetched or started.
    """
    began = time.monotonic()
    folder = Path(directory).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    _start_cassandra(name)
    data = _load_flights()
    with _workspace(folder / DATA, name, keep=keep) as ws:
        _materialize(ws, data)
        planes = _busiest(data.plane_stats, SPINE_ROWS)
        _read_online(ws, planes[:SHOWN])
        _read_the_past(ws, data.plane_stats, planes)
        _find_skew(ws, planes, folder / "skew.png")
        _measure_latency(ws, folder / "latency.png")
    _say_what_next(folder, keep=keep, seconds=time.monotonic() - began)


# --- the steps -------------------------------------------------------------------------------------------------------


def _start_cassandra(name: str) -> None:
    from feastra_nb.connection import local

    _title("A real Cassandra on this machine, from packages: no account, no container")
    there = local.running(name) is not None
    with _timed() as took:
        node = local.start(name=name)
    what = "was running already" if there else "started"
    _line(f"Cassandra {node.version} at {node.hosts[0]}:{node.port} {what}", took.seconds)


def _load_flights() -> FlightViews:
    _title("Real data: every flight out of New York City in 2013")
    with _timed() as took:
        data = flights.load()
    end = max(frame[flights.EVENT].max() for frame in data.views.values())
    _line(f"{len(data.flights):,} flights and {len(data.airport_weather):,} hours of weather", took.seconds)
    _line(f"moved by {data.weeks} weeks, so that the newest event is of {end:%A, %Y-%m-%d %H:%M} UTC")
    return data


def _materialize(ws: Workspace, data: FlightViews) -> None:
    _title('Materialize three feature views, every event of them: ws.materialize(df, view, keys=…, retain="all")')
    for name, frame in data.views.items():
        keys = list(flights.KEYS[name])
        # Where nobody watches, a line would only repeat what is printed below.
        with tqdm(total=len(frame), desc=f"  {name}", unit=" rows", leave=False, disable=None, ncols=WIDTH) as bar:
            done = ws.materialize(frame, name, keys=keys, retain="all", progress=bar.update)
        what = f"{name:<18} {done.rows:>7,} rows of {done.entities:>5,} entities  {done.rows_per_s:>6,.0f} rows/s"
        _line(what, done.seconds)


def _read_online(ws: Workspace, planes: Sequence[str]) -> None:
    features = [f"{VIEW}:{name}" for name in ("flights", "mean_delay", "share_late", "dest")]
    _title("Read online, what a model would be served now: ws.online(features, entities)")
    with _timed() as took:
        served = ws.online(features, {"tailnum": list(planes)})
    _line(f"{len(features)} features of {len(served)} aircraft", took.seconds)
    _table(served)


def _read_the_past(ws: Workspace, stats: pd.DataFrame, planes: Sequence[str]) -> None:
    """Read online as of an instant, and hold it against Feast's own point-in-time join of the offline data."""
    features = [f"{VIEW}:{name}" for name in ("flights", "mean_delay", "share_late", "dest")]
    then = (stats[flights.EVENT].max() - BACK).floor("s")
    spine = pd.DataFrame({"tailnum": list(planes), "event_timestamp": then})
    _title(f"The online store has a memory: ws.online(…, as_of={then:%Y-%m-%d %H:%M}), {BACK.days} days before")
    with _timed() as took:
        served = ws.online(features, spine[["tailnum"]], as_of=then)
    _line(f"online, as of then: {len(served):,} aircraft", took.seconds)
    with _timed() as took:
        joined = ws.historical(features, spine)
    _line("offline: Feast's point-in-time join at the same instant", took.seconds)
    same = served.equals(joined.drop(columns="event_timestamp"))
    _line("the two are equal in every value" if same else "THE TWO DIFFER")
    _table(served.head(SHOWN))


def _find_skew(ws: Workspace, planes: Sequence[str], picture: Path) -> None:
    _title(f'Find training-serving skew, and why: ws.skew("{VIEW}")')
    with _timed() as took:
        clean = ws.skew(VIEW)
    _line(f"as it is: {clean.sentence}", took.seconds)
    now = datetime.now(tz=timezone.utc)
    flights.fly_again(ws, planes[:STALE])
    flights.correct_delays(ws, planes[STALE : STALE + CORRECTED])
    _line(f"now {STALE} aircraft get a newer flight, and {CORRECTED} a corrected delay, in the offline data only")
    with _timed() as took:
        report = ws.skew(VIEW)
    _line("looked for again, cell by cell:", took.seconds)
    print(report, flush=True)  # as wide as a terminal by itself
    _line("with the evidence, such as:")
    _table(_evidence(report))
    _line(f"picture: {_shown(report.save(picture))}")
    with _timed() as took:
        ws.materialize(VIEW, start=now - REPAIRED, progress=False)
        repaired = ws.skew(VIEW)
    _line(f'materialized again, as it advises: ws.materialize("{VIEW}", start=…)', took.seconds)
    _line(f"and now: {repaired.sentence}")


def _evidence(report: SkewReport) -> pd.DataFrame:
    """Return some cells of each cause, with what is to be seen of it, narrow enough for a terminal."""
    cells = report.worst(4).sort_values("cause", kind="stable")
    offline = cells["offline_event"].dt.strftime("%m-%d %H:%M")
    shown: pd.DataFrame = cells.assign(offline_event=offline)[
        ["cause", "tailnum", "feature", "online", "offline", "offline_event", "note"]
    ]
    return shown


def _measure_latency(ws: Workspace, picture: Path) -> None:
    _title(f'How fast is a request: ws.latency("{VIEW}"), Feast\'s own get_online_features')
    with _timed() as took:
        report = ws.latency(VIEW, seconds=LOAD_S, batch=BATCHES, progress=False)
    _line(f"requests of {', '.join(map(str, BATCHES))} aircraft, {LOAD_S:.0f} s each", took.seconds)
    print(report, flush=True)  # as wide as a terminal by itself
    _line(f"picture: {_shown(report.save(picture))}")


def _say_what_next(folder: Path, *, keep: bool, seconds: float) -> None:
    _title(f"Done in {seconds:.0f} s")
    if keep:
        _line(f"the data are kept: fnb.connect(fnb.Local(), directory={str(_shown(folder / DATA))!r})")
    else:
        _line(f"kept: the pictures in {_shown(folder)}. Cassandra runs on for half an hour, or until `feastra down`")
    _line("next: the same in Jupyter, step by step: notebooks/quickstart.ipynb; and README.md")


# --- a workspace of the demo's own -----------------------------------------------------------------------------------


@contextmanager
def _workspace(directory: Path, name: str, *, keep: bool) -> Iterator[Workspace]:
    """Open an empty workspace, whatever an earlier run left, and clear it away at the end, on Ctrl-C too."""
    shutil.rmtree(directory, ignore_errors=True)
    with connect(Local(name=name), directory=directory) as ws:
        opened = ws.store.open(ws.feast.config)
        for entry in opened.catalog.views(ws.project):
            opened.catalog.drop(ws.project, entry.view)
        try:
            yield ws
        finally:
            if not keep:
                opened.db.schema(f"DROP KEYSPACE {quoted(opened.db.keyspace)}")
                shutil.rmtree(directory, ignore_errors=True)


def _busiest(stats: pd.DataFrame, count: int) -> list[str]:
    """Return, of the aircraft that flew in the data's last week, those with the most flights in their last 30 days."""
    newest = stats.drop_duplicates("tailnum", keep="last")
    flying = newest[newest[flights.EVENT] > stats[flights.EVENT].max() - flights.WEEK]
    busiest = flying.sort_values(["flights", "tailnum"], ascending=[False, True])
    return [str(tailnum) for tailnum in busiest["tailnum"].head(count)]


# --- output ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Took:
    """How long the body of a `_timed` took, once it is over."""

    seconds: float = 0.0


@contextmanager
def _timed() -> Iterator[_Took]:
    began, took = time.monotonic(), _Took()
    yield took
    took.seconds = time.monotonic() - began


def _title(text: str) -> None:
    print(f"\n{text}", flush=True)


def _line(text: str, seconds: float | None = None) -> None:
    """Print an indented line, with how long it took at its right end."""
    took = "" if seconds is None else f"{seconds:.2f} s"
    print(f"  {text:<{WIDTH - 12}}{took:>9}".rstrip(), flush=True)


def _table(frame: pd.DataFrame) -> None:
    for line in frame.to_string(index=False, float_format="{:.2f}".format).splitlines():
        print(f"    {line}".rstrip(), flush=True)


def _shown(path: Path) -> Path:
    """Return a path as short as it can be said from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
