"""Compares pictures with those that were looked at, in both themes of a page."""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from feastra_nb.reporting import plots

EXPECTED = Path(__file__).parents[1] / "images"
# Of the colours' differences: letters that another version of FreeType sets a little differently are about 6, a line that
# is missing or a word that is cut off is more than 12.
TOLERANCE = 9.0


def both_themes(plot):
    """Return a drawing on JupyterLab's light background, above the same on its dark one; half the dots."""
    light, dark = (Image.open(io.BytesIO(plots.png(plot, dark=dark))).convert("RGB") for dark in (False, True))
    shown = Image.new("RGB", (light.width, 2 * light.height))
    shown.paste(light, (0, 0))
    shown.paste(dark, (0, light.height))
    return shown.resize((shown.width // 2, shown.height // 2))


def difference(first, second):
    """Return how much two pictures differ: the root of the mean square of their colours' differences, of 255."""
    return float(np.sqrt(np.mean((np.asarray(first, dtype=float) - np.asarray(second, dtype=float)) ** 2)))


def is_as_looked_at(shown, name):
    """Return whether a picture is the expected one; ``FEASTRA_NEW_IMAGES`` makes it so."""
    path = EXPECTED / f"{name}.png"
    if os.environ.get("FEASTRA_NEW_IMAGES"):
        shown.save(path, optimize=True)
    expected = Image.open(path).convert("RGB")
    return shown.size == expected.size and difference(shown, expected) < TOLERANCE
