"""Switches a repository to our store and, at the end, takes the mirror away: both by editing ``feature_store.yaml``."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feastra_nb.adapter.feast_calls import calling_feast
from feastra_nb.adapter.store_config import STORE_TYPE
from feastra_nb.connection.cluster import quoted
from feastra_nb.errors import ConfigurationError, FeastraError
from feastra_nb.migration.reports import MigrationReport
from feastra_nb.migration.sides import opened_sides, refuse_unmirrored
from feastra_nb.migration.steps import copied, verified
from feastra_nb.migration.yaml_text import KEY, block_of, refuse_other_changes, switched_text, without_mirror

if TYPE_CHECKING:
    from collections.abc import Mapping

    from feastra_nb.adapter.feast_tables import FeastTable
    from feastra_nb.migration.sides import Sides
    from feastra_nb.stores import Stores

FILE = "feature_store.yaml"
_SECRETS = ("password", "token", "client_secret")


def switch(stores: Stores, own: Mapping[str, Any], *, verify: bool, shown: bool) -> MigrationReport:
    """Copy what is new, verify, and make the repository use our store, with Feast's as its mirror."""
    began, path = time.monotonic(), stores.directory / FILE
    if stores.has_history:
        raise ConfigurationError(
            "this repository uses feastra_nb's online store already", hint="the next step is finish, or copy once more"
        )
    before = path.read_text("utf-8")
    after = edited(before, own)  # what cannot be edited is told before anything is copied
    with opened_sides(stores, None, own) as sides:
        copy = copied(sides, rows_per_s=None, full=False, shown=shown)
        if copy.unknown:
            return _stopped("switch", copy, "not switched: the copy is not complete", began)
        checked = verified(sides, at=None, rows_per_s=None, shown=shown, notes_it=True) if verify else copy
        if verify and not checked.ok:
            return _stopped("switch", checked, "not switched: both sides are not equal", began)
    backup = _written(path, before, after)
    return _report(
        "switch",
        checked,
        f"{path} uses feastra_nb now, and Feast's tables are written as well",
        (
            f"the former file is {backup}",
            "start the processes that write again, then run copy once more, then start those that read again; finish ends it",
            "a workspace that is open goes on with the former file: fnb.connect(repo=…) opens one on the new one",
        ),
        began,
    )


def finish(stores: Stores, *, drop_old: bool, shown: bool) -> MigrationReport:
    """Verify once more, stop writing Feast's tables, and drop them where that is asked for.

    Copied is only where something is missing in the log: a copy makes what was served before it unknown.
    """
    began, path = time.monotonic(), stores.directory / FILE
    refuse_unmirrored(
        stores.feast.config.online_store
    )  # refuses a repository that is not switched, or finished already
    before = path.read_text("utf-8")
    after = without_mirror(before)
    _refuse_other_changes(before, after)
    with opened_sides(stores, None, {}) as sides:
        if drop_old and sides.old is None:
            raise ConfigurationError(
                "only tables of Feast's Cassandra and Scylla stores can be dropped", hint="leave drop_old out"
            )
        checked = verified(sides, at=None, rows_per_s=None, shown=shown, notes_it=True)
        if not checked.ok and not checked.unknown:
            copy = copied(sides, rows_per_s=None, full=False, shown=shown)
            if copy.unknown:
                return _stopped("finish", copy, "not finished: the copy is not complete", began)
            checked = verified(sides, at=None, rows_per_s=None, shown=shown, notes_it=True)
        if not checked.ok:
            return _stopped("finish", checked, "not finished: both sides are not equal", began)
        backup = _written(path, before, after)
        notes = [f"the former file is {backup}"]
        dropped = list(sides.tables.of_views.values()) if drop_old else []
        for table in dropped:
            _drop(sides, table)
            notes.append(f"dropped {table.qualified}")
        if not drop_old:
            notes.append("Feast's tables are kept; finish(drop_old=True), or --drop-old, drops them")
    return _report("finish", checked, f"{path} writes Feast's tables no more", tuple(notes), began)


def _drop(sides: Sides, table: FeastTable) -> None:
    if sides.old is not None:
        sides.old.schema(f"DROP TABLE IF EXISTS {quoted(table.keyspace)}.{quoted(table.name)}")


def edited(before: str, own: Mapping[str, Any]) -> str:
    """Return the repository's file with our store.

    Raises
    ------
    ConfigurationError
        It cannot be edited safely, or a secret would stand in it.
    """
    import yaml

    own = {name: value for name, value in own.items() if name != "type"}
    for name in _SECRETS:
        if own.get(name) and not str.startswith(own[name], "${"):
            raise ConfigurationError(
                f"{name} would be written into {FILE} as it is",
                hint=f'pass "${{FEASTRA_{name.upper()}}}", and set that variable',
            )
    block_of(before)
    old = yaml.safe_load(before)[KEY]
    extra = {"load_balancing": {"local_dc": old["local_dc"]}} if old.get("local_dc") else {}
    after = switched_text(before, own, extra)
    names_cluster = {"hosts", "datacenters", "secure_bundle_path", "astra", "local"} & own.keys()
    left_out = ("type", "local_dc", "vector_similarity_function")
    taken = {} if names_cluster else {name: value for name, value in old.items() if name not in left_out}
    refuse_other_changes(before, after, {**taken, **extra, **own, "type": STORE_TYPE, "mirror": old})
    return after


def _refuse_other_changes(before: str, after: str) -> None:
    import yaml

    old = yaml.safe_load(before)[KEY]
    refuse_other_changes(before, after, {name: value for name, value in old.items() if name != "mirror"})


def _written(path: Path, before: str, after: str) -> Path:
    """Write a repository's file in one step, with a backup beside it; one that Feast cannot read is taken back."""
    backup = _free(path)
    shutil.copy2(path, backup)
    _replace(path, after)
    try:
        with calling_feast(f"reading {path}"):
            from feast.repo_config import load_repo_config

            load_repo_config(path.parent, path)
    except FeastraError:
        _replace(path, before)
        backup.unlink()
        raise
    return backup


def _free(path: Path) -> Path:
    number = 1
    while (backup := path.with_name(f"{path.name}.before-{number}")).exists():
        number += 1
    return backup


def _replace(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    shutil.copymode(path, name)
    Path(name).replace(path)


def _stopped(verb: str, report: MigrationReport, why: str, began: float) -> MigrationReport:
    return MigrationReport(
        verb,
        why,
        report.frame,
        report.views,
        report.problems,
        report.unknown,
        report.notes,
        report.at,
        time.monotonic() - began,
    )


def _report(verb: str, report: MigrationReport, sentence: str, notes: tuple[str, ...], began: float) -> MigrationReport:
    return MigrationReport(
        verb,
        sentence,
        report.views,
        report.views,
        notes=(*notes, *report.notes),
        at=report.at,
        seconds=time.monotonic() - began,
    )
