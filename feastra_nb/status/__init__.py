"""What there is and how it does: the cluster, the views, their freshness, the journal, and the workspace's own page."""

from feastra_nb.status.cluster import Status, status
from feastra_nb.status.home import LastSkew, home
from feastra_nb.status.listings import freshness, runs, views

__all__ = ["LastSkew", "Status", "freshness", "home", "runs", "status", "views"]
