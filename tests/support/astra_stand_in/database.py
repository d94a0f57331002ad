"""A database of Astra: a real Cassandra behind TLS, client certificates and passwords, and what its bundle leads to."""

from __future__ import annotations

import io
import json
import ssl
import zipfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certificates import make_certificate, node_tls, pem, public_pem
from loopback import Handler, serving
from nodes import start_node

from astra_stand_in.devops import TOKEN
from astra_stand_in.sni import router
from feastra_nb.connection import local

if TYPE_CHECKING:
    from pathlib import Path

    from feastra_nb.connection.local import LocalCassandra

HOST = "127.0.0.1"
KEYSPACE = "default_keyspace"
CLIENT_ID, CLIENT_SECRET = "StandInClientId", "stand-in+secret,1"
# Astra's own, as DataStax's GuardrailsConfig.java has them; where Astra ignores something with a warning, this refuses it.
GUARDRAILS = {
    "tables_warn_threshold": 100, "tables_fail_threshold": 200,
    "columns_per_table_fail_threshold": 50,
    "secondary_indexes_per_table_fail_threshold": 1, "materialized_views_per_table_fail_threshold": 2,
    "partition_keys_in_select_fail_threshold": 20, "in_select_cartesian_product_fail_threshold": 25,
    "page_size_fail_threshold": 10_000,
    "column_value_size_fail_threshold": "5MiB",
    "write_consistency_levels_disallowed": ["ANY", "ONE", "LOCAL_ONE"],
    "table_properties_disallowed": [
        "additional_write_policy", "allow_auto_snapshot", "bloom_filter_fp_chance", "caching", "cdc", "comment", "compaction",
        "compression", "crc_check_chance", "extensions", "gc_grace_seconds", "incremental_backups", "max_index_interval",
        "memtable", "memtable_flush_period_in_ms", "min_index_interval", "read_repair", "speculative_retry",
    ],
    "read_before_write_list_operations_enabled": False, "user_timestamps_enabled": True,
    "batch_size_warn_threshold": "64KiB", "batch_size_fail_threshold": "640KiB",
    "unlogged_batch_across_partitions_warn_threshold": 10,
    "tombstone_warn_threshold": 1_000, "tombstone_failure_threshold": 100_000,
}  # fmt: skip


@dataclass(frozen=True)
class AstraDatabase:
    """A running database.

    Parameters
    ----------
    bundle
        Its secure connect bundle; ``foreign`` is one with certificates of another authority.
    """

    node: LocalCassandra
    bundle: bytes
    foreign: bytes


@contextmanager
def database(name: str, folder: Path):
    """Start a node behind a router and a metadata service, with keyspace and roles."""
    authority, other = make_certificate("Astra's authority"), make_certificate("another authority")
    server = make_certificate("node", authority, hosts=[HOST])
    with ExitStack() as stack:
        node = start_node(name, settings=_settings(server, authority))
        stack.callback(local.purge, name)
        host_id = _furnish(node, _client_context(authority, folder / "admin.pem"))
        port = stack.enter_context(router({host_id: (HOST, node.port)}))
        metadata = stack.enter_context(_metadata(host_id, port, server, authority, folder / "metadata.pem"))
        yield AstraDatabase(node, _bundle(authority, metadata), _bundle(other, metadata))


def _settings(server, authority):
    return {
        "authenticator": "PasswordAuthenticator",
        "authorizer": "CassandraAuthorizer",
        "client_encryption_options": {**node_tls(server, authority), "require_client_auth": True},
        **GUARDRAILS,
    }


def _client_context(authority, path: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=public_pem(authority[1]))
    path.write_text(pem(*make_certificate("client", authority)))
    context.load_cert_chain(path)
    return context


def _furnish(node: LocalCassandra, context: ssl.SSLContext) -> str:
    """Make the keyspace and the roles of token and client, which as on Astra may make no keyspace; return the host's id."""
    from cassandra.auth import PlainTextAuthProvider
    from cassandra.cluster import Cluster

    login = PlainTextAuthProvider("cassandra", "cassandra")
    with Cluster([HOST], port=node.port, auth_provider=login, ssl_context=context, protocol_version=4) as cluster:
        session = cluster.connect()
        for keyspace in (KEYSPACE, "models"):
            session.execute(
                f"CREATE KEYSPACE IF NOT EXISTS {keyspace} "
                "WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 1}"
            )
        for role, password in (("token", TOKEN), (CLIENT_ID, CLIENT_SECRET)):
            session.execute(f"CREATE ROLE IF NOT EXISTS \"{role}\" WITH PASSWORD = '{password}' AND LOGIN = true")
            for keyspace in (KEYSPACE, "models"):
                session.execute(f'GRANT ALL ON KEYSPACE {keyspace} TO "{role}"')
        return str(session.execute("SELECT host_id FROM system.local").one().host_id)


@contextmanager
def _metadata(host_id: str, router_port: int, server, authority, path: Path):
    """Serve where the database's nodes are, over TLS with client certificates; yield the port."""
    body = json.dumps(
        {
            "contact_info": {
                "type": "sni_proxy", "local_dc": "datacenter1", "contact_points": [host_id],
                "sni_proxy_address": f"{HOST}:{router_port}",
            }
        }
    ).encode()  # fmt: skip

    class Answering(Handler):
        def answer(self) -> None:
            self.reply(200 if self.path == "/metadata" else 404, body)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=public_pem(authority[1]))
    path.write_text(pem(*server))
    context.load_cert_chain(path)
    with serving(Answering, context) as port:
        yield port


def _bundle(authority, metadata_port: int) -> bytes:
    both = pem(*make_certificate("client", authority))
    key, certificate = both.split("-----BEGIN CERTIFICATE-----")
    config = {"host": HOST, "port": metadata_port, "localDC": "datacenter1", "keyspace": KEYSPACE}
    members = {
        "ca.crt": public_pem(authority[1]),
        "cert": f"-----BEGIN CERTIFICATE-----{certificate}",
        "key": key,
        "config.json": json.dumps(config),
    }
    return zipped(**members)


def zipped(**members: str | bytes) -> bytes:
    """Return a zip of what each name holds."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return content.getvalue()
