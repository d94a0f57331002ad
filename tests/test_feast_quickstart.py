"""Feast's own quickstart on our online store, by Feast's own command line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml


@pytest.fixture
def feast(tmp_path):
    """Run Feast's command line in a folder."""

    def run(*arguments, cwd=tmp_path):
        done = subprocess.run(
            [str(Path(sys.executable).with_name("feast")), *arguments],
            cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_init_apply_materialize_and_read(node, project, feast, tmp_path):
    feast("init", project)
    repository = tmp_path / project / "feature_repo"
    path = repository / "feature_store.yaml"
    config = yaml.safe_load(path.read_text())
    config["online_store"] = {
        "type": "feastra_nb.online_store.FeastraOnlineStore",
        "hosts": list(node.hosts), "port": node.port, "keyspace": "tests", "create_keyspace": True,
    }  # fmt: skip
    config["offline_store"] = {"type": "duckdb"}
    _use_microseconds(repository / "data")
    path.write_text(yaml.safe_dump(config))
    feast("apply", cwd=repository)
    feast("materialize-incremental", "2100-01-01T00:00:00", cwd=repository)
    script = (
        "from feast import FeatureStore; s = FeatureStore('.');"
        "print(s.get_online_features(['driver_hourly_stats:conv_rate', 'driver_hourly_stats:acc_rate'],"
        " [{'driver_id': 1001}, {'driver_id': 1004}]).to_dict())"
    )
    out = subprocess.check_output([sys.executable, "-c", script], cwd=repository, text=True)
    assert re.search(r"'conv_rate': \[0\.\d+, 0\.\d+\]", out), out
    feast("teardown", cwd=repository)


def _use_microseconds(data):
    """Rewrite the quickstart's parquet: Feast's own file has nanoseconds, which its DuckDB store cannot read."""
    import pyarrow.parquet as pq

    for file in data.glob("*.parquet"):
        pq.write_table(pq.read_table(file), file, coerce_timestamps="us", allow_truncated_timestamps=True)
