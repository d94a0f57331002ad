"""What a call may have changed."""

import hashlib


def traces(ws):
    """Return what a call may have changed: the workspace's files, its tables' rows, its part of the catalog and the journal."""
    files = {
        str(path.relative_to(ws.directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(ws.directory.rglob("*"))
        if path.is_file()
    }
    db = ws.store.open(ws.feast.config).db
    tables = {
        row[0]
        for row in db.execute("SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?", (db.keyspace,))
    }
    own = {
        table: sorted(
            map(repr, db.execute(f"SELECT * FROM {db.keyspace}.{table} WHERE project = '{ws.project}' ALLOW FILTERING"))
        )
        for table in ("feastra_catalog", "feastra_runs")
    }
    rows = {
        entry.table: sorted(map(repr, db.execute(f'SELECT * FROM {db.keyspace}."{entry.table}"')))
        for entry in ws.store.open(ws.feast.config).catalog.views(ws.project)
    }
    return files, tables, own, rows
