"""Reports of any kind: how they look in a notebook, as a plot, as text and in a file; and progress on the way to them."""
