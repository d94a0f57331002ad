"""Encrypts the port between nodes: only holders of the cluster's key may connect.

That port takes reads and writes without asking for a role, so it needs a guard of its own. A key pair is made once for each
cluster, by the ``keytool`` of the Java that runs it (0.3 s); every node shows it and asks for it, over TLS.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

from feastra_nb.errors import LocalNodeFailed

if TYPE_CHECKING:
    from pathlib import Path

    from feastra_nb.connection.local.java import Java
    from feastra_nb.connection.local.login import Login

_PASSWORD_VARIABLE = "FEASTRA_KEYSTORE"  # noqa: S105  the name of a variable; a command line is seen by every user
_VALID_DAYS = 36_500
_TIMEOUT_S = 60.0
_TYPE = "PKCS12"


def make_keystore(directory: Path, login: Login, java: Java) -> None:
    """Make the key of a cluster, if it is not there.

    Raises
    ------
    LocalNodeFailed
        Java's keytool is not there or failed.
    """
    path = keystore_path(directory)
    if path.exists():
        return
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    keytool = java.executable.resolve().with_name("keytool")
    command = [
        str(keytool), "-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC", "-genkeypair", "-alias", "node",
        "-keyalg", "EC", "-groupname", "secp256r1", "-dname", "CN=feastra-nb", "-validity", str(_VALID_DAYS),
        "-storetype", _TYPE, "-keystore", str(part), "-storepass:env", _PASSWORD_VARIABLE,
    ]  # fmt: skip
    environment = {**os.environ, _PASSWORD_VARIABLE: login.keystore_password.reveal()}
    try:
        subprocess.run(  # noqa: S603  Java's own program
            command, env=environment, umask=0o077, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        output = str(getattr(error, "stdout", "") or error).strip()
        raise LocalNodeFailed(
            f"the key of the local node could not be made by {keytool}: {output}",
            hint="let FEASTRA_JAVA_HOME name a whole Java 17 or 11",
        ) from error
    part.replace(path)


def keystore_path(directory: Path) -> Path:
    """Return where the key of a cluster is."""
    return directory / "internode.p12"


def encryption_options(directory: Path, login: Login) -> dict[str, Any]:
    """Return the ``server_encryption_options`` of every node: TLS, and the same key on both sides."""
    password = login.keystore_password.reveal()
    store = {"keystore": str(keystore_path(directory)), "keystore_password": password}
    trusted = {"truststore": str(keystore_path(directory)), "truststore_password": password}
    return {"internode_encryption": "all", "require_client_auth": True, "store_type": _TYPE, **store, **trusted}
