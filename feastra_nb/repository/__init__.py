"""An ordinary Feast repository: the configuration of a workspace, and what `ws.save` writes."""
