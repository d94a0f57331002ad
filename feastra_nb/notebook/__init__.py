"""Notebook front end: magics, widgets and completion. The only room that imports IPython and ipywidgets."""
