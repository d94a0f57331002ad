"""What each field of the form is for: the line below it."""

from __future__ import annotations

ABOUT = {
    "target": "Where the features are stored; the fields below go with it.",
    "token": "AstraCS:…, from the Astra portal, or the file that it gives. It is not kept in the notebook.",
    "database": "Its name, id or API endpoint; Find databases lists what the token can see.",
    "region": "One of the database's regions; the first one where nothing is chosen.",
    "keep_token": "The next form and fnb.connect() find it there; needs pip install 'feastra-nb[keyring]'.",
    "bundle": "Path of the file secure-connect-….zip that the Astra portal gives.",
    "client_id": "Only without a token: the Client ID of the portal's token file.",
    "client_secret": "Goes with the Client ID. It is not kept in the notebook.",
    "hosts": "Some nodes of the cluster, with commas between them; the others are found by themselves.",
    "port": "Of Cassandra's native protocol: 9042 unless the cluster was set up otherwise.",
    "username": "Empty where the cluster lets everybody in.",
    "password": "It is not kept in the notebook; an empty one is read from CASSANDRA_PASSWORD.",
    "keyspace": "Of Cassandra: where the tables are. It has to exist.",
    "project": "Of Feast: views of different projects do not meet, also in one keyspace.",
    "directory": "On this machine: Feast's registry and the offline files.",
    "retain": "How much history new views keep online: 7d, 36h, all, or latest for none.",
    "read_only": "Everything that writes is refused.",
}
# Of a local node, which has names of its own.
ABOUT_LOCAL = {
    name: f"{ABOUT[name].removesuffix(' It has to exist.')} Empty: made from the folder."
    for name in ("keyspace", "project")
}
