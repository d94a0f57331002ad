"""The only room that knows notebooks: magics, widgets, HTML, plots."""
