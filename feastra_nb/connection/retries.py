"""The retry policy: the driver's own, plus one more attempt after a read timeout.

Imported with the driver only: importing the package stays light.
"""

from __future__ import annotations

from typing import Any

from cassandra.policies import RetryPolicy

from feastra_nb.connection.profiles import AGAIN


class ReadAgain(RetryPolicy):
    """Sends a read once more after the server's own ReadTimeout: the coordinator may have waited for a replica that hangs.

    To the same node, since the others may have been asked already. The request's time-out counts for all attempts
    together. With most of the nodes down another attempt would only double the wait.
    """

    metadata: Any = None
    """The driver's, known as soon as the cluster is built."""

    def on_read_timeout(
        self,
        query: Any,  # noqa: ARG002 - the driver's signature
        consistency: int,
        required_responses: int,  # noqa: ARG002
        received_responses: int,  # noqa: ARG002
        data_retrieved: bool,  # noqa: ARG002, FBT001
        retry_num: int,
    ) -> tuple[int, int | None]:
        """Return the decision: another attempt or the error. What was sent to two nodes comes back from both."""
        hosts = self.metadata.all_hosts() if self.metadata is not None else ()
        up = sum(host.is_up is not False for host in hosts)
        if retry_num > AGAIN or 2 * up <= len(hosts):
            return self.RETHROW, None
        return self.RETRY, consistency
