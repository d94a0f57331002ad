"""`ws.materialize("view", …)`: a registered view, from the offline store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feastra_nb.adapter.feast_calls import streaming_from_feast
from feastra_nb.errors import ConfigurationError
from feastra_nb.materialization.from_offline import LOOKBACK, is_plain, materialize_view
from feastra_nb.materialization.pulled import OfflineView
from feastra_nb.materialization.registration import note_interval
from feastra_nb.storage.opened import refuse_unserved
from feastra_nb.storage.reader import BEGINNING_US
from feastra_nb.times import EPOCH, instant, instants, us, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from feast import FeatureView

    from feastra_nb.materialization.run import Materialization
    from feastra_nb.stores import Stores
    from feastra_nb.times import Instant


def materialize_registered(
    stores: Stores,
    name: str,
    *,
    start: Instant | None,
    end: Instant | None,
    resume: bool,
    progress: bool | Callable[[int], object],
) -> Materialization:
    """Read a registered view's rows from the offline store and write them online.

    Without ``start`` the run goes on from the end of the last one, less a day of lookback for rows that arrived late.
    """
    view = stores.view(name)
    refuse_unserved(view)
    if not is_plain(view):
        raise ConfigurationError(
            f"view {name!r} is transformed or aggregated, so Feast must materialize it",
            hint=f"ws.feast.materialize(start, end, [{name!r}])",
        )
    until = _moment(end, "end") or utc_now()
    since = _since(view, _moment(start, "start"))
    if since is not None and since > until:
        raise ConfigurationError(f"start {since} lies after end {until}", hint="exchange them, or leave one out")
    with streaming_from_feast(f"materializing view {name}"):
        interval = (us(since) if since else BEGINNING_US, us(until))
        offline = OfflineView.of(stores.feast, view)
        done = materialize_view(offline, stores.online, interval, resume=resume, progress=progress)
    note_interval(stores, view, (since or EPOCH, until))
    return done


def _since(view: FeatureView, start: datetime | None) -> datetime | None:
    """Return where the run begins; None for the beginning of the offline data."""
    if start is not None:
        return start
    last = view.most_recent_end_time
    return None if last is None else last - LOOKBACK


def _moment(value: Instant | None, name: str) -> datetime | None:
    if value is None:
        return None
    return instant(int(instants(value, 1, name)[0]))
