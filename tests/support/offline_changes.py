"""Changes a view's offline data behind the online store's back."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feastra_nb.materialization.offline_file import path_of


def change_offline(ws, view, change):
    """Let something happen to the offline data behind the online store's back."""
    path = path_of(ws.directory, view)
    schema = pq.read_schema(path)
    frame = change(pq.read_table(path).to_pandas())
    pq.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False), path)


def append(ws, view, rows):
    change_offline(ws, view, lambda frame: pd.concat([frame, rows(frame)]))


def go_wrong(filled, now):
    """Driver 3 gets a newer event in the offline data only."""
    made = pd.Timestamp.now(tz="UTC")
    append(
        filled,
        "drivers",
        lambda df: df.tail(1).assign(event_timestamp=now - pd.Timedelta("5min"), trips=99, feastra_created=made),
    )
