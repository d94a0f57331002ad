"""The front door: `connect` and the `Workspace`, whose methods each call one verb of one room."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from feastra_nb.adapter.forks import ForkedRegistry
from feastra_nb.connection.astra.access import KEYSPACE_VARIABLE
from feastra_nb.connection.choice import choose_target, local_names
from feastra_nb.connection.targets import DEFAULT_CONSISTENCY, Astra, Local, check_target, short
from feastra_nb.errors import ConfigurationError, ReadOnly, WorkspaceClosed
from feastra_nb.stores import Stores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta
    from types import TracebackType

    import pandas as pd
    from cassandra.cluster import Session
    from feast import FeatureStore, FeatureView

    from feastra_nb.connection.targets import Target
    from feastra_nb.forgotten import Forgotten
    from feastra_nb.latency.capacity import Capacity
    from feastra_nb.latency.report import LatencyReport
    from feastra_nb.materialization.run import Materialization
    from feastra_nb.migration.migration import Migration
    from feastra_nb.migration.reports import MigrationReport
    from feastra_nb.online_store import FeastraOnlineStore
    from feastra_nb.pruning import Pruned
    from feastra_nb.reporting.listing import Listing
    from feastra_nb.retrieval.entities import EntityRows
    from feastra_nb.retrieval.request import FeatureRefs
    from feastra_nb.skew.report import SkewReport
    from feastra_nb.skew.timeline import Timeline
    from feastra_nb.status import LastSkew, Status
    from feastra_nb.times import Instant


def connect(
    target: Target | None = None,
    *,
    project: str | None = None,
    keyspace: str | None = None,
    directory: str | Path = ".feastra",
    registry: Any = None,
    consistency: str = DEFAULT_CONSISTENCY,
    offline: str | Mapping[str, Any] = "duckdb",
    retain: str = "7d",
    read_only: bool = False,
    repo: str | Path | None = None,
    adopt_registry: bool = False,
) -> Workspace:
    """Connect to a feature store on Cassandra and return a workspace.

    Parameters
    ----------
    target
        `Local`, `Hosts` or `Astra`; None takes what the environment or the saved profile name, else a local Cassandra, which
        is started if it is not running.
    project, keyspace
        Feast project and Cassandra keyspace. A local node has defaults made from the folder; elsewhere both are needed.
    directory
        Folder of the registry and the offline parquet; made with a .gitignore of its own.
    registry
        Any Feast registry (a path, a URL, or a mapping), instead of a file in the folder.
    consistency
        Consistency level of reads and writes.
    offline
        Feast's offline store: its type, or a mapping.
    retain
        How much history views made from here keep: ``"7d"``, ``"all"``, ``"latest"``.
    read_only
        Refuse everything that writes.
    repo
        An existing Feast repository instead of a target, whatever its online store; of the other arguments only ``read_only``
        goes with it, since the repository says the rest.
    adopt_registry
        Take over views that another folder, or another Feast registry, has made in the same keyspace and project.

    Raises
    ------
    ConfigurationError
        Arguments are missing or do not fit together.
    ConnectionFailed
        The server cannot be reached.

    Examples
    --------
    >>> import feastra_nb as fnb
    >>> with fnb.connect(fnb.Local()) as ws:  # doctest: +SKIP
    ...     ws.materialize(df, "plane_stats", keys=["tailnum"])
    """
    from feastra_nb.adapter.feast_calls import calling_feast
    from feastra_nb.repository.repository import prepared_directory, repo_config
    from feastra_nb.storage.retention import Retention

    if repo is not None:
        given = {
            "project": project, "keyspace": keyspace, "directory": directory, "registry": registry, "consistency": consistency,
            "offline": offline, "retain": retain, "adopt_registry": adopt_registry,
        }  # fmt: skip
        refuse_arguments(connect, given, "with repo=, which says the rest in its feature_store.yaml")
        return _open_repository(Path(repo), target, read_only=read_only)
    retain = Retention.of(retain).text
    if not isinstance(directory, (str, os.PathLike)):
        raise ConfigurationError(f"directory={directory!r} is not a path", hint='directory=".feastra"')
    folder = Path(directory).absolute()
    if target is None:
        target, named = choose_target()
        keyspace = keyspace or named
    check_target(target)
    project, keyspace = _names(target, project, keyspace, folder)
    config = repo_config(
        target,
        project=project,
        keyspace=keyspace,
        directory=folder,
        registry=registry,
        consistency=consistency,
        offline=offline,
        retain=retain,
        read_only=read_only,
        adopt_registry=adopt_registry,
    )
    from feast import FeatureStore

    with prepared_directory(folder):
        with calling_feast("opening the feature store"):
            feature_store = FeatureStore(config=config)
        return Workspace(feature_store, target, folder, read_only=read_only)


def refuse_arguments(function: Callable[..., Any], given: Mapping[str, Any], why: str) -> None:
    """Refuse arguments that do not belong to the call at hand.

    Parameters
    ----------
    function
        Whose defaults count as not given.
    given
        The arguments that would be dropped.

    Raises
    ------
    ConfigurationError
        One of them was given; names them all.
    """
    defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
    dropped = [name for name, value in given.items() if value is not defaults[name] and value != defaults[name]]
    if dropped:
        raise ConfigurationError(
            f"{' and '.join(f'{name}=' for name in dropped)} cannot go {why}", hint=f"leave {', '.join(dropped)} out"
        )


def _names(target: Target, project: str | None, keyspace: str | None, folder: Path) -> tuple[str, str]:
    for name, value, limit in (("project", project, PROJECT_LIMIT), ("keyspace", keyspace, KEYSPACE_LIMIT)):
        if value is not None and not (isinstance(value, str) and len(value) <= limit and _NAME.fullmatch(value)):
            plain = re.sub(r"[^A-Za-z0-9]+", "_", str(value)).strip("_")[:limit] or "demo"
            raise ConfigurationError(
                f"{name}={value!r} is not a name: at most {limit} letters, digits and _, the first not a _",
                hint=f'{name}="{plain}"',
            )
    if isinstance(target, Local):
        own_project, own_keyspace = local_names(folder)
        return project or own_project, keyspace or own_keyspace
    if isinstance(target, Astra):
        keyspace = keyspace or os.environ.get(KEYSPACE_VARIABLE)
    missing = [name for name, value in (("project", project), ("keyspace", keyspace)) if not value]
    if project is None or keyspace is None:
        raise ConfigurationError(
            f"{type(target).__name__} needs {' and '.join(missing)}",
            hint='fnb.connect(…, project="demo", keyspace="features"); several teams may share a keyspace under different projects',
        )
    return project, keyspace


def _open_repository(repo: Path, target: Target | None, *, read_only: bool) -> Workspace:
    from feast import FeatureStore

    from feastra_nb.adapter.feast_calls import calling_feast

    if target is not None:
        raise ConfigurationError("pass a target or repo=, not both", hint="the repository says where its store is")
    if not (repo / "feature_store.yaml").is_file():
        raise ConfigurationError(f"{repo} holds no feature_store.yaml", hint="pass the folder of a Feast repository")
    with calling_feast(f"opening the Feast repository {repo}"):
        feature_store = FeatureStore(repo_path=str(repo))
    return Workspace(feature_store, None, repo.absolute(), read_only=read_only)


# What both Feast and CQL take as names; a keyspace's length is CQL's limit.
PROJECT_LIMIT, KEYSPACE_LIMIT = 255, 48
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]*")


class Workspace:
    """A feature store, from a notebook. Made by `connect`; a context manager.

    Parameters
    ----------
    feature_store
        The Feast feature store.
    target
        What it is connected to; None for a repository.
    directory
        Folder of the registry and the offline parquet.
    """

    def __init__(
        self, feature_store: FeatureStore, target: Target | None, directory: Path, *, read_only: bool = False
    ) -> None:
        from feastra_nb.adapter.feast_calls import calling_feast

        self._feast = feature_store
        self._closed = False
        self.target = target
        self.directory = directory
        self.read_only = read_only
        self.stores = Stores(feature_store, target, directory, read_only)
        self.project = self.stores.project
        self.keyspace = self.stores.keyspace
        self._forked = ForkedRegistry(feature_store)
        self._skews: dict[str, LastSkew] = {}
        # A run that was killed leaves its view "materializing", which Feast alone does not serve; what was written stands.
        with calling_feast("reading the registry"):
            feature_store.registry.serve_features_while_materializing = True
            feature_store.refresh_registry()
        if self.stores.has_history:
            # Connect now, so that a wrong address or password shows here and not at the first read.
            opened = self.store.open(feature_store.config)
            if not read_only:
                opened.catalog.create()

    # --- writing ---

    @overload
    def materialize(
        self,
        data: pd.DataFrame,
        view: str,
        *,
        keys: Sequence[str] | str | None = None,
        timestamp: str = "event_timestamp",
        created: str | None = None,
        ttl: str | timedelta | None = None,
        progress: bool | Callable[[int], object] = True,
        retain: str | timedelta | None = None,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        owner: str = "",
        allow_future: bool = False,
    ) -> Materialization: ...

    @overload
    def materialize(
        self,
        data: str,
        *,
        start: Instant | None = None,
        end: Instant | None = None,
        resume: bool = True,
        progress: bool | Callable[[int], object] = True,
    ) -> Materialization: ...

    def materialize(
        self,
        data: Any,
        view: str | None = None,
        *,
        keys: Sequence[str] | str | None = None,
        timestamp: str = "event_timestamp",
        created: str | None = None,
        ttl: str | timedelta | None = None,
        progress: bool | Callable[[int], object] = True,
        retain: str | timedelta | None = None,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        owner: str = "",
        allow_future: bool = False,
        start: Instant | None = None,
        end: Instant | None = None,
        resume: bool = True,
    ) -> Materialization:
        """Write features into the online store: of a DataFrame, or of a registered view.

        ``ws.materialize(df, "view", keys=[…])`` infers entity, schema and feature view, registers them in Feast, adds the rows
        to the view's offline parquet and writes them online. ``ws.materialize("view", start=…, end=…)`` reads a registered view
        from the offline store; without ``start`` it goes on from where the last run ended, with a day of lookback. It goes
        backwards in spans of about a million rows, in bounded memory where the offline store can stream, as DuckDB can.

        Parameters
        ----------
        data
            A DataFrame, or the name of a registered view.
        view
            Name of the feature view that the DataFrame becomes, or is added to.
        keys
            Join key columns.
        timestamp
            Event time column; naive times are taken for UTC.
        created
            Created time column; without one the call's time is added as ``feastra_created``.
        ttl
            How long a value counts (``"1d"``, a timedelta), online as offline; None for ever, or as the view has it.
        progress
            A bar, none, or a callable that gets each number of acknowledged rows.
        retain
            How much history the view keeps; None for the workspace's, or as the view has it.
        allow_future
            Take events more than five minutes ahead of this machine's clock.
        start, end
            Interval of event time of a registered view, both inclusive.
        resume
            Leave out the spans that a run which was stopped has written for good (`Materialization.skipped` names them).

        Raises
        ------
        InvalidFrame
            The frame cannot be stored as it is; nothing was written.
        WriteIncomplete
            The write stopped part-way; the same call completes it.
        """
        self._check(writing=True)
        from feastra_nb.pruning import prune_if_due

        of_frame = {
            "view": view, "keys": keys, "timestamp": timestamp, "created": created, "ttl": ttl, "retain": retain,
            "description": description, "tags": tags, "owner": owner, "allow_future": allow_future,
        }  # fmt: skip
        of_view = {"start": start, "end": end, "resume": resume}
        if isinstance(data, str):
            refuse_arguments(Workspace.materialize, of_frame, f"with a registered view: {data!r} has its own")
            from feastra_nb.materialization.registered import materialize_registered

            done = materialize_registered(self.stores, data, start=start, end=end, resume=resume, progress=progress)
            prune_if_due(self.stores, done.view)
            return done
        from feastra_nb.materialization.frame import materialize_frame
        from feastra_nb.materialization.registration import FrameSpec

        refuse_arguments(Workspace.materialize, of_view, "with a DataFrame, which is written whole")
        spec = FrameSpec.of(**{name: value for name, value in of_frame.items() if name != "allow_future"})
        done = materialize_frame(self.stores, data, spec, allow_future=allow_future, progress=progress)
        prune_if_due(self.stores, done.view)
        return done

    def retain(self, view: str, retain: str | timedelta) -> None:
        """Set how much history a view keeps from now on: ``"30d"``, ``"all"``, ``"latest"``."""
        self._check(writing=True)
        from feastra_nb.materialization.registration import set_retention

        set_retention(self.stores, view, retain)

    def prune(
        self, view: str | None = None, *, dry_run: bool = False, progress: bool | Callable[[int], object] = False
    ) -> Pruned:
        """Delete what no answer needs any more: events older than the retention, and repeats of one event and content.

        Of an entity's events before the retention's window the one stays that is current when the window begins, so no answer
        inside the window changes, as of any instant and as known at any. Stopped anywhere, the next call goes on. On a local
        node it happens by itself after a materialization, elsewhere only here.

        Parameters
        ----------
        view
            The view to prune; None for all.
        dry_run
            Count what would be deleted, and delete nothing.
        progress
            A bar, none, or a callable that gets each number of scanned rows.

        Raises
        ------
        UnknownName
            There is no view of that name.
        """
        self._check(writing=not dry_run)
        from feastra_nb import pruning

        return pruning.prune(self.stores, view, dry_run=dry_run, progress=progress)

    def forget(self, view: str, entities: EntityRows, *, offline: bool = False) -> int:
        """Delete every row of some entities, and return how many entities had any.

        Parameters
        ----------
        entities
            Join keys, in any shape that `online` takes.
        offline
            Delete them from the view's offline parquet too; otherwise the next materialization may bring them back.

        Raises
        ------
        UnknownName
            There is no view of that name.
        ConfigurationError
            ``offline`` was asked for, and the view's offline data are not ours; nothing was deleted.
        """
        self._check(writing=True)
        from feastra_nb import forgetting

        return forgetting.forget(self.stores, view, entities, offline=offline)

    def forget_entity(
        self,
        entities: EntityRows,
        *,
        dry_run: bool = False,
        offline: bool = False,
        progress: bool | Callable[[int], object] = False,
    ) -> Forgotten:
        """Delete entities from every view that has their join keys, and let nothing write them again.

        Every view counts that has all of the given join keys: one with more of them loses every row with these values, for
        which its keys are scanned. Vectors that were precomputed go, too. The rows are looked for again until there are none.
        From then on every way of writing leaves the entities out, until `allow_entity`: the keyspace keeps salted hashes of
        them. When the bytes leave the disks is said in ``docs/storage.md``.

        Parameters
        ----------
        entities
            Join keys, in any shape that `online` takes.
        dry_run
            Count what would be deleted; delete and suppress nothing.
        offline
            Delete them from the views' offline parquet too.
        progress
            A bar, none, or a callable that gets each number of keys that were looked at.

        Returns
        -------
        Forgotten
            A row a view: entities found, rows deleted online and offline, rows left (0).

        Raises
        ------
        UnknownName
            No view has such a join key, or none has all of them.
        InvalidFrame
            The values do not fit the views' join keys; nothing was deleted.
        ConfigurationError
            The online store is another than ours; or ``offline`` was asked for, and a view's offline data are not ours.
            Nothing was deleted.
        RequestFailed
            Rows are still there, since something keeps writing them: call it again.

        Examples
        --------
        >>> ws.forget_entity({"customer": [7, 8]}, dry_run=True).frame  # doctest: +SKIP
        >>> ws.forget_entity({"customer": [7, 8]}).rows_left  # doctest: +SKIP
        0
        """
        self._check(writing=not dry_run)
        from feastra_nb import forgetting

        return forgetting.forget_entity(self.stores, entities, dry_run=dry_run, offline=offline, progress=progress)

    def allow_entity(self, entities: EntityRows) -> int:
        """Let entities be written again that `forget_entity` has forgotten, and return how many it had.

        It brings nothing back: the next materialization does, if the source still has them.

        Parameters
        ----------
        entities
            By the same join keys by which they were forgotten, in any shape that `online` takes.

        Raises
        ------
        UnknownName
            Neither a view nor the suppression list has such a join key.

        Examples
        --------
        >>> ws.allow_entity({"customer": [7]})  # doctest: +SKIP
        1
        """
        self._check(writing=True)
        from feastra_nb import forgetting

        return forgetting.allow_entity(self.stores, entities)

    def drop(self, view: str) -> None:
        """Drop a view from wherever it is known: the registry, the online store, the offline parquet that was made here.

        Entities that no other view needs go too, so that a later view may give the same join key another type.

        Raises
        ------
        UnknownName
            Nothing knows a view of that name.
        CatalogConflict
            Only the online store knows it, for another Feast registry.
        """
        self._check(writing=True)
        from feastra_nb.materialization.registration import drop

        drop(self.stores, view)

    # --- reading ---

    def online(
        self,
        features: FeatureRefs,
        entities: EntityRows,
        *,
        as_of: Instant | None = None,
        known_at: Instant | None = None,
        full_feature_names: bool = False,
        timestamps: bool = False,
        status: bool = False,
        dtype_backend: str = "numpy_nullable",
    ) -> pd.DataFrame:
        """Read features online: now, or as the store would have served them at an instant.

        Parameters
        ----------
        features
            ``"view:feature"``, ``"view"`` for all of its features, a list of these, a `feast.FeatureService` or its name.
        entities
            Join keys: a DataFrame, a dict of lists or of scalars, a list of dicts, a named Series or Index, an Arrow table;
            order and repeats are kept. Request data of on-demand features stand beside them.
        as_of
            An instant, or the name of a column of ``entities`` with one each: the newest event at or before it.
        known_at
            Only what had arrived by this instant; ``"as_of"`` for each row's own.
        timestamps
            Add ``<feature>__ts``, the event time of each value.
        status
            Add ``<feature>__status``: PRESENT, NOT_FOUND, OUTSIDE_MAX_AGE, or UNKNOWN before the store's memory.
        dtype_backend
            ``"numpy_nullable"`` and ``"pyarrow"`` lose nothing; ``"numpy"`` gives a model what Feast's ``to_df`` does: float64
            with NaN for missing numbers, objects for the rest.

        Returns
        -------
        pandas.DataFrame
            Join keys, then features, a row for each row of ``entities``.

        Raises
        ------
        UnknownName, InvalidFrame
            Something asked for does not exist.
        BeyondRetention
            An as-of instant lies before the view's history, and ``status`` is off.
        """
        self._check()
        from feastra_nb.retrieval import online

        return online.online(
            self.stores,
            features,
            entities,
            as_of=as_of,
            known_at=known_at,
            options=online.Options(full_feature_names, timestamps, status, dtype_backend),
        )

    def historical(
        self,
        features: FeatureRefs,
        entity_df: EntityRows,
        *,
        known_at: Instant | None = None,
        full_feature_names: bool = False,
        dtype_backend: str = "numpy_nullable",
    ) -> pd.DataFrame:
        """Return Feast's own point-in-time join of features to an entity frame; every row comes back, in order.

        Parameters
        ----------
        entity_df
            Join keys and ``event_timestamp``, in any shape that `online` takes.
        known_at
            ``"as_of"``: only rows created at or before each row's timestamp count.
        dtype_backend
            As for `online`; ``"numpy"`` for a model.

        Raises
        ------
        UnknownName, InvalidFrame
            Something asked for does not exist, or the entity frame lacks a column.
        FeastFailed
            The offline store cannot read the view's data.
        """
        self._check()
        from feastra_nb.retrieval.offline import historical

        return historical(
            self._feast, features, entity_df, known_at=known_at, full_feature_names=full_feature_names,
            dtype_backend=dtype_backend,
        )  # fmt: skip

    def skew(
        self,
        view_or_features: FeatureRefs,
        *,
        spine: EntityRows | None = None,
        served: EntityRows | None = None,
        known_at: Instant | None = None,
        features: FeatureRefs | None = None,
        tolerance: Mapping[str, float] | float | None = None,
        sample: int | None = None,
        rows_per_s: float | None = None,
        resume: bool = False,
        progress: bool | Callable[[int], object] = False,
    ) -> SkewReport:
        """Compare online with point-in-time offline, value by value, each difference with its cause.

        Parameters
        ----------
        view_or_features
            A view's name, feature references, or a feature service.
        spine
            A frame of join keys and ``event_timestamp``: compare as of each row. None compares now: every entity of either side.
        served
            A frame of join keys, ``event_timestamp`` and the values that were logged when they were served, named as in Feast
            (``feature`` or ``view__feature``): compare what the model really got. ``…__ts`` and ``…__status`` beside them are
            used as evidence.
        known_at
            ``"as_of"``: online rows count only if they had arrived by each row's instant.
        features
            Compare only these of them.
        tolerance
            Absolute difference that still counts as equal: one number, or one per feature.
        sample
            Compare at most this many entities (now) or rows (as of, served), chosen evenly. Without it the online table is
            scanned (now), which finds also what is online only.
        rows_per_s
            How many rows a second such a scan reads at most, so that those who are served meanwhile feel nothing of it.
        resume
            Go on with a long scan of just this that was stopped, at the instant at which it began.
        progress
            True for a bar, or a callable that is told of rows as they are compared.

        Raises
        ------
        ConfigurationError
            Arguments do not fit together, or a store that keeps one value of each entity is asked as of the past.
        InvalidFrame
            The frame lacks a join key, ``event_timestamp`` or a feature.
        """
        self._check()
        from feastra_nb.skew import pairing

        report = pairing.skew(
            self.stores, view_or_features, spine=spine, served=served, known_at=known_at, only=features,
            tolerance=tolerance, sample=sample, rows_per_s=rows_per_s, resume=resume,
            progress=progress,
        )  # fmt: skip
        self._note_skew(report)
        return report

    def explain(self, feature: str, entity: EntityRows, *, as_of: Instant | None = None) -> Timeline:
        """Show one value's life in both stores: events, runs, what the point-in-time join picks, what was served, and why.

        Parameters
        ----------
        feature
            ``"view:feature"``.
        entity
            Its join keys: ``{"tailnum": "N14228"}``, or one row in any shape that `online` takes.
        as_of
            The instant; None for now.

        Raises
        ------
        UnknownName, ConfigurationError
            There is no such feature, or the store keeps no history to be asked as of the past.
        """
        self._check()
        from feastra_nb.skew.timeline import explain

        return explain(self.stores, feature, entity, as_of=as_of)

    def latency(
        self,
        features: FeatureRefs,
        entities: EntityRows | None = None,
        *,
        rate: float | None = None,
        arrivals: str = "constant",
        concurrency: int = 1,
        seconds: float = 10.0,
        batch: int | Sequence[int] = (1, 10, 100),
        consistency: str | Sequence[str] | None = None,
        target: str | Sequence[str] = "feast",
        keys: str | None = None,
        warmup_s: float = 1.0,
        progress: bool = True,
        yes: bool = False,
    ) -> LatencyReport:
        """Measure how long it takes to read features from here, setting by setting.

        Without ``rate`` callers wait for each answer before they ask again (a closed loop): how fast one call is. With it
        requests are sent on a schedule whatever becomes of those before (an open loop), and the response time counts from
        when a request was to be sent, so that a stall is not hidden. Ctrl-C returns what was measured until then.

        Parameters
        ----------
        features
            A view's name, ``"view:feature"`` references, or a `feast.FeatureService`.
        entities
            Join keys to read; None samples up to 10,000 entities of the store, by token range.
        rate
            Requests a second.
        arrivals
            How they come: ``"constant"``, or ``"poisson"`` as those of many independent users.
        concurrency
            Callers at a time of a closed loop.
        seconds, warmup_s
            How long each setting is measured, and how long it is called before, in seconds.
        batch, consistency, target
            Entities a request; the consistency level of the reads, None for the workspace's; what is measured: ``"feast"``
            (`get_online_features` on any online store), ``"driver"`` (the store's own statements, nothing decoded) or the
            URL of a ``feast serve``. Of several values all combinations are measured, one after another.
        keys
            ``"uniform"``: requests walk through the entities. ``"zipf"``: few entities get most requests, as in real traffic.
        yes
            On Astra, which bills by use, agree beforehand to what it costs; otherwise that is shown and asked. There ten
            requests a second are sent where neither ``rate`` nor ``concurrency`` is given.

        Raises
        ------
        ConfigurationError
            A number makes no sense, there are no entities, or fewer than a batch needs.
        UnknownName
            There is no such view or feature.
        ConnectionFailed
            Nothing answers at the URL. A store that is down is a finding, not an error: the report counts it.
        """
        self._check()
        from feastra_nb.latency import runner

        load = runner.Load(rate, arrivals, concurrency, seconds, warmup_s)
        return runner.latency(
            self.stores, features, entities, load, batch=batch, consistency=consistency, target=target, keys=keys,
            progress=progress, yes=yes,
        )  # fmt: skip

    def capacity(
        self,
        features: FeatureRefs,
        entities: EntityRows | None = None,
        *,
        p99_ms: float,
        batch: int = 1,
        seconds: float = 3.0,
        consistency: str | None = None,
        target: str = "feast",
        keys: str | None = None,
        progress: bool = True,
        yes: bool = False,
    ) -> Capacity:
        """Find the highest rate of requests at which 99 % are answered in time, to 15 %; it takes a minute or so.

        A rate holds when the p99 of the response time is within the objective, at most one request in a hundred fails, and at
        least 95 % of the rate is reached. Ctrl-C returns what is known until then.

        Parameters
        ----------
        p99_ms
            The objective, in milliseconds.
        seconds
            How long to try each rate, at least; longer where that many seconds give fewer than 1,050 requests.
        features, entities, batch, consistency, target, keys, yes
            As for `latency`, one of each.

        Raises
        ------
        ConfigurationError
            A number makes no sense, or there are no entities.
        """
        self._check()
        from feastra_nb.latency.capacity import capacity

        return capacity(
            self.stores, features, entities, p99_ms=p99_ms, batch=batch, seconds=seconds, consistency=consistency, target=target,
            keys=keys, progress=progress, yes=yes,
        )  # fmt: skip

    # --- what is there ---

    def cql(self, statement: str, parameters: Sequence[Any] = (), *, limit: int | None = 1_000) -> pd.DataFrame:
        """Run a CQL statement and return its rows as a DataFrame.

        In a SELECT the name of a feature view stands for its table, and payloads of our own tables come decoded: join keys in
        the place of ``entity_key``, features in the place of ``features``. Rows come page by page.

        Parameters
        ----------
        statement
            One CQL statement, with ``?`` for each parameter.
        parameters
            Values to bind.
        limit
            The most rows to fetch; None for all. Whether there were more is in the frame's ``attrs["has_more"]``.

        Returns
        -------
        pandas.DataFrame
            Integers as ``Int64``, text as ``string``, timestamps in UTC; a statement that answers nothing gives no columns.

        Raises
        ------
        ReadOnly
            The workspace is read-only, and the statement writes.
        RequestFailed
            The server refuses. No string of the statement is in the message: it might be a secret.

        Examples
        --------
        >>> ws.cql("SELECT * FROM plane_stats LIMIT 3")  # doctest: +SKIP
        """
        self._check()
        from feastra_nb.retrieval.cql import query

        return query(self.stores, statement, parameters, limit)

    def views(self, search: str | None = None) -> Listing:
        """Return the feature views: entities, features, ttl, retention, last materialization; ``search`` filters by text."""
        self._check()
        from feastra_nb import status

        return status.views(self.stores, search)

    def freshness(self) -> Listing:
        """Return for each view how far its online data lie behind now."""
        self._check()
        from feastra_nb import status

        return status.freshness(self.stores)

    def status(self) -> Status:
        """Return where this workspace is connected, and how its cluster does."""
        self._check()
        from feastra_nb import status

        return status.status(self.stores)

    def runs(self, view: str | None = None) -> Listing:
        """Return the journal: every run that wrote into the views, newest first."""
        self._check()
        from feastra_nb import status

        return status.runs(self.stores, view)

    def migration(self, *, retain: str | timedelta | None = None, to: Mapping[str, Any] | None = None) -> Migration:
        """Return the migration of this Feast repository from Feast's own online store to ours.

        Its methods are ``plan``, ``copy``, ``verify``, ``switch`` and ``finish``; each returns a report and can be run again.

        Parameters
        ----------
        retain
            How much history the migrated views keep; None for 7 days.
        to
            Keys of our ``online_store`` block where it differs from Feast's: another keyspace, or another cluster.

        Raises
        ------
        ConfigurationError
            This workspace is not a Feast repository.

        Examples
        --------
        >>> with fnb.connect(repo="feature_repo") as ws:  # doctest: +SKIP
        ...     ws.migration().plan()
        """
        self._check()
        from feastra_nb.migration.migration import Migration

        if self.target is not None:
            raise ConfigurationError(
                "a workspace made from a target has nothing to migrate", hint='fnb.connect(repo="feature_repo")'
            )
        own = {**({} if retain is None else {"retain": retain}), **(to or {})}
        return Migration(self.stores, own)

    def export(
        self,
        layout: str,
        views: Sequence[str] | None = None,
        *,
        to: Mapping[str, Any] | None = None,
        rows_per_s: float | None = None,
        progress: bool = True,
    ) -> MigrationReport:
        """Write what the online store serves into tables of Feast's own store, which then serves the same.

        Parameters
        ----------
        layout
            ``"feast-cassandra"``.
        views
            Names of views; None for all that are kept online.
        to
            The ``online_store`` block of Feast's store; None for its ``type: cassandra`` in the same keyspace.
        rows_per_s
            Read at most so many entities a second.

        Raises
        ------
        ConfigurationError
            There is no such layout, or the online store is not ours.

        Examples
        --------
        >>> ws.export("feast-cassandra")  # doctest: +SKIP
        """
        self._check(writing=True)
        from feastra_nb.migration.export import export

        return export(self.stores, layout, views, to=to, rows_per_s=rows_per_s, shown=progress)

    # --- ways out ---

    def save(self, path: str | Path) -> Path:
        """Write an ordinary Feast repository of this workspace, without secrets, and return its folder.

        It has ``feature_store.yaml``, the definitions of what is registered as Python, and the registry (a copy, where it is a
        file). The offline data stay where they are.
        """
        self._check()
        from feastra_nb.repository.repository import save_workspace

        return save_workspace(self.stores, Path(path))

    @property
    def feast(self) -> FeatureStore:
        """The real `feast.FeatureStore`."""
        self._check()
        return self._feast

    @property
    def session(self) -> Session:
        """The driver's session."""
        self._check()
        return self.stores.online.db.session

    @property
    def store(self) -> FeastraOnlineStore:
        """The online store; only a `FeastraOnlineStore` has a history.

        Raises
        ------
        ConfigurationError
            The repository's online store is another.
        """
        return self.stores.store

    def view(self, name: str) -> FeatureView:
        """Return a registered feature view.

        Raises
        ------
        UnknownName
            There is none of that name; names the closest.
        """
        return self.stores.view(name)

    @property
    def closed(self) -> bool:
        """Whether the workspace was closed."""
        return self._closed

    def close(self) -> None:
        """Give the session back; the process's last workspace on it closes the connection."""
        if not self._closed:
            self._closed = True
            if self.stores.has_history:
                self.stores.online_store.shutdown()
            elif (cluster := getattr(self.stores.online_store, "_cluster", None)) is not None:
                cluster.shutdown()  # Feast's Cassandra store never closes its own

    @property
    def has_history(self) -> bool:
        """Whether the online store is a `FeastraOnlineStore`, which remembers; others keep one value of each entity."""
        return self.stores.has_history

    @property
    def online_store_type(self) -> str:
        """The online store's type, as ``feature_store.yaml`` has it."""
        return self.stores.type

    def _check(self, *, writing: bool = False) -> None:
        if self._closed:
            raise WorkspaceClosed("this workspace was closed", hint="fnb.connect(…) opens another")
        if writing and self.read_only:
            raise ReadOnly("this workspace was opened with read_only=True", hint="connect without it to write")

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _note_skew(self, report: SkewReport) -> None:
        """Keep what a comparison found, for the workspace's own page."""
        from feastra_nb.status import LastSkew
        from feastra_nb.times import utc_now

        for view, (compared, differing) in report.by_view.items():
            is_ok = not differing and view not in report.proofs.shifts
            self._skews[view] = LastSkew(utc_now(), compared, differing, is_ok)

    def _repr_mimebundle_(self, **_kinds: object) -> dict[str, str]:
        """Return the workspace's own page: its views, how they do, and what one would call next."""
        if self._closed:
            return {"text/plain": repr(self)}
        from feastra_nb.reporting import html
        from feastra_nb.status import home

        try:
            text, page = home(self.stores, self._where, self._skews)
        except Exception as error:  # noqa: BLE001 - a cluster that does not answer is no reason to show nothing
            why = f"{type(error).__name__}: {error}"
            page = html.page("Feature store", html.lead(self._where), html.note(html.status(why, "bad")), text=why)
            text = f"{self._where}\n{why}"
        return {"text/plain": text, "text/html": str(page)}

    @property
    def _where(self) -> str:
        where = short(self.target) if self.target is not None else f"the repository {str(self.directory)!r}"
        return f"Project {self.project} on {where}, keyspace {self.keyspace}" + (
            ", read only" if self.read_only else ""
        )

    def __repr__(self) -> str:
        where = short(self.target) if self.target is not None else f"repo {str(self.directory)!r}"
        state = ", closed" if self._closed else ", read only" if self.read_only else ""
        return f"Workspace({where}, project={self.project!r}, keyspace={self.keyspace!r}{state})"
