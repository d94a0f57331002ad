"""The few HTML building blocks that every report's ``_repr_html_`` is made of.

A report composes a page from sections, tables, facts, notes, statuses and images. Each helper escapes the plain strings
it is given and passes :class:`Html` (what another helper returned) through, so that nothing is escaped twice or never.
No JavaScript, no external resource, no ids: the same report gives the same bytes in every call, so that saved notebooks
do not differ for nothing.

Examples
--------
>>> print(note("fewer than ten samples lie beyond p99.9 & above"))
<p class="fnb-note">fewer than ten samples lie beyond p99.9 &amp; above</p>
>>> shown = page("Latency", status("measured", "ok"), note("one node"), text="Latency: one node")
>>> shown.startswith('<div class="fnb">') and "Latency: one node" in shown
True
"""

from __future__ import annotations

import base64
import html
import math
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from feastra_nb.reporting.stylesheet import DOCUMENT_STYLE, STYLE

if TYPE_CHECKING:
    from collections.abc import Mapping

Tone = Literal["ok", "warn", "bad", "info", "unknown"]

ROW_LIMIT = 50  # rows of a table: about two screens; a report says how many more there are
MISSING = "\N{EN DASH}"  # what a cell without a value shows
SIGNIFICANT_DIGITS = 3  # of the smallest number of a column; all its numbers get the same decimals, to align
# Characters of a cell, more than an instant has: longer text is broken into lines, so that tables fit the page.
LONG_TEXT = 24
LONG_WORD = 60  # characters of a word that may be broken too
MOST_DECIMALS = 6  # beyond this a number is shown as zero rather than as a long row of digits

# A sign beside the word and the colour, for those who see neither red nor green.
_SIGNS: Mapping[Tone, str] = {
    "ok": "\N{CHECK MARK}",
    "warn": "!",
    "bad": "\N{MULTIPLICATION X}",
    "info": "i",
    "unknown": "?",
}


class Html(str):
    """Markup that is safe to insert as it is; only the helpers of this module make it.

    In a notebook it shows itself.

    Examples
    --------
    >>> escaped(Html("<b>kept</b>")), escaped("<b>escaped</b>")
    ('<b>kept</b>', '&lt;b&gt;escaped&lt;/b&gt;')
    """

    __slots__ = ()

    def _repr_html_(self) -> str:
        return str(self)


def escaped(value: object) -> Html:
    """Return a value as markup: :class:`Html` unchanged, everything else as escaped text.

    Examples
    --------
    >>> escaped('"a" < b')
    '&quot;a&quot; &lt; b'
    """
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def joined(*parts: object) -> Html:
    """Return several parts one after another, each escaped unless it is markup.

    Examples
    --------
    >>> joined("1 < 2 ", status("true", "ok"))
    '1 &lt; 2 <span class="fnb-status fnb-ok">✓ true</span>'
    """
    return Html("".join(escaped(part) for part in parts))


def page(title: str, *parts: object, text: str) -> Html:
    """Return a report's ``_repr_html_``: style, title and parts, with a text for where styles are stripped.

    Parameters
    ----------
    title
        The report's name, and what it is about.
    parts
        What the helpers of this module returned; plain strings are escaped.
    text
        The report as text (its ``repr``): what GitHub and untrusted notebooks show, since they drop the style.

    Examples
    --------
    >>> "&lt;script&gt;" in page("<script>", text="")
    True
    """
    # A real heading would enter JupyterLab's table of contents.
    heading = f'<div class="fnb-title" role="heading" aria-level="3">{escaped(title)}</div>'
    return Html(
        f'<div class="fnb"><style>{STYLE}</style><pre class="fnb-text">{escaped(text)}</pre>'
        # Hidden until the style shows it: without the style the text above stands instead. Twice, since what strips the
        # style may strip either: GitHub the inline style, JupyterLab, of a notebook that is not trusted, the attribute.
        f'<div class="fnb-page" style="display:none" hidden>{heading}{joined(*parts)}</div></div>'
    )


def document(title: str, fragment: str) -> str:
    """Return a standalone page around what a ``_repr_html_`` returned.

    Parameters
    ----------
    title
        The page's title, escaped here.
    fragment
        The markup of a report, inserted as it is.

    Examples
    --------
    >>> document("Skew & co", page("Skew", text="")).splitlines()[0]
    '<!DOCTYPE html>'
    """
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escaped(title)}</title>\n'
        f"<style>{DOCUMENT_STYLE}</style>\n</head>\n<body>\n{fragment}\n</body>\n</html>\n"
    )


def section(title: str, *parts: object, is_open: bool = True) -> Html:
    """Return a collapsible section.

    Parameters
    ----------
    title
        What stands in the line that opens and closes it.
    parts
        Its content; plain strings are escaped.
    is_open
        Whether it starts open.

    Examples
    --------
    >>> section("Evidence", "a < b", is_open=False)
    '<details><summary>Evidence</summary>a &lt; b</details>'
    """
    return Html(f"<details{' open' if is_open else ''}><summary>{escaped(title)}</summary>{joined(*parts)}</details>")


def status(word: str, tone: Tone) -> Html:
    """Return a status in a word, a sign and a colour.

    Parameters
    ----------
    word
        The status itself: it has to be understood without the colour.
    tone
        ``ok``, ``warn``, ``bad``, ``info`` or ``unknown``.

    Examples
    --------
    >>> status("mismatch", "bad")
    '<span class="fnb-status fnb-bad">✕ mismatch</span>'
    """
    return Html(f'<span class="fnb-status fnb-{tone}">{_SIGNS[tone]} {escaped(word)}</span>')


def lead(*parts: object) -> Html:
    """Return the sentence that a report begins with.

    Examples
    --------
    >>> lead(status("no skew", "ok"), " All values match.")
    '<p class="fnb-lead"><span class="fnb-status fnb-ok">✓ no skew</span> All values match.</p>'
    """
    return Html(f'<p class="fnb-lead">{joined(*parts)}</p>')


def note(*parts: object) -> Html:
    """Return a quiet paragraph: a condition, a caveat, a reading help.

    Examples
    --------
    >>> note("closed loop")
    '<p class="fnb-note">closed loop</p>'
    """
    return Html(f'<p class="fnb-note">{joined(*parts)}</p>')


def card(head: object, *parts: object, code: str = "", tone: Tone = "bad") -> Html:
    """Return a finding by itself: what it is, what is known of it, and a line of code to copy.

    Examples
    --------
    >>> print(card("stale", "old", code='f("a")'))
    <div class="fnb-card fnb-bad"><div class="fnb-head">stale</div><div>old</div><pre class="fnb-code">f(&quot;a&quot;)</pre></div>
    """
    lines = "".join(f"<div>{escaped(part)}</div>" for part in parts if part)
    below = f'<pre class="fnb-code">{escaped(code)}</pre>' if code else ""
    return Html(f'<div class="fnb-card fnb-{tone}"><div class="fnb-head">{escaped(head)}</div>{lines}{below}</div>')


def bar(share: float, *, low: float, high: float, words: object) -> Html:
    """Return a share as a bar with its interval, and the words beside it.

    Parameters
    ----------
    share, low, high
        From 0 to 1; the interval is a line across the bar's end.

    Examples
    --------
    >>> bar(0.5, low=0.25, high=0.75, words="50 %").count("<i ")
    2
    """
    width, left, right = (round(100 * min(max(part, 0.0), 1.0), 2) for part in (share, low, high))
    return Html(
        f'<span class="fnb-bar"><i class="fnb-fill" style="width:{width:g}%"></i>'
        f'<i class="fnb-span" style="left:{left:g}%;width:{max(right - left, 0):g}%"></i></span> {escaped(words)}'
    )


def facts(pairs: Mapping[str, object]) -> Html:
    """Return names and values as a two-column list.

    Examples
    --------
    >>> facts({"python": "3.11"})
    '<dl class="fnb-facts"><dt>python</dt><dd>3.11</dd></dl>'
    """
    items = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>" for name, value in pairs.items())
    return Html(f'<dl class="fnb-facts">{items}</dl>')


def image(png: bytes, *, alt: str, width_px: int, dark: bytes | None = None) -> Html:
    """Return a picture that lies inside the page.

    Parameters
    ----------
    png
        The picture, such as :func:`feastra_nb.reporting.plots.png` returns it.
    alt
        What it shows, in words.
    width_px
        Its width on the page, in CSS pixels; a picture with more pixels is sharp on dense screens.
    dark
        The same for dark pages; None where one picture suits both.

    Examples
    --------
    >>> image(b"not really", alt="a curve", width_px=10)
    '<img src="data:image/png;base64,bm90IHJlYWxseQ==" alt="a curve" width="10">'
    """
    if dark is not None:
        # Where the style is stripped, only the first is seen.
        return joined(
            _image(png, alt, width_px, ' class="fnb-light"'), _image(dark, alt, width_px, ' class="fnb-dark" hidden')
        )
    return _image(png, alt, width_px, "")


def _image(png: bytes, alt: str, width_px: int, kind: str) -> Html:
    data = base64.b64encode(png).decode("ascii")
    return Html(f'<img{kind} src="data:image/png;base64,{data}" alt="{escaped(alt)}" width="{width_px}">')


def themed(picture: Html) -> Html:
    """Return a picture of two inks by itself, outside a report's page.

    Examples
    --------
    >>> themed(image(b"", alt="", width_px=1)).startswith('<div class="fnb"><style>')
    True
    """
    return Html(f'<div class="fnb"><style>{STYLE}</style>{picture}</div>')


def table(
    frame: pd.DataFrame,
    *,
    labels: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    formats: Mapping[str, str] | None = None,
    caption: str = "",
    limit: int = ROW_LIMIT,
) -> Html:
    """Return a DataFrame as a table with aligned numbers; its index is not shown, and instants are in UTC to the millisecond.

    Parameters
    ----------
    frame
        The rows. Cells may be :class:`Html`, such as :func:`status` returns.
    labels
        Column name → what the header says instead.
    units
        Column name → unit, written small in the header.
    formats
        Column name → format specification (``".1%"``). By default the numbers of a column get the same decimals, enough
        for three significant digits of the smallest one.
    caption
        A line above the table.
    limit
        The most rows to show; a last line says how many more there are.

    Examples
    --------
    >>> shown = table(pd.DataFrame({"n": [1200, 7], "p50_ms": [0.5, None]}), units={"p50_ms": "ms"})
    >>> [cell in shown for cell in (">1,200<", ">0.500<", ">ms<", f">{MISSING}<")]
    [True, True, True, True]
    """
    labels, units, formats = labels or {}, units or {}, formats or {}
    names = [str(name) for name in frame.columns]
    # By position: a joined frame can hold two columns of one name.
    columns = [frame.iloc[:, position] for position in range(len(names))]
    kinds = [' class="fnb-number"' if _is_number(column) else "" for column in columns]
    cells = [_cells(column.head(limit), formats.get(name)) for name, column in zip(names, columns, strict=True)]
    head = "".join(
        f'<th scope="col"{kind}>{escaped(labels.get(name, name))}{_unit(units.get(name, _zone(column)))}</th>'
        for name, kind, column in zip(names, kinds, columns, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(f"<td{kind or _breaks(cell)}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True))
        + "</tr>"
        for row in zip(*cells, strict=True)
    )
    title = f"<caption>{escaped(caption)}</caption>" if caption else ""
    more = note(f"… and {len(frame) - limit:,} more rows") if len(frame) > limit else ""
    return Html(
        f'<div class="fnb-wide"><table class="fnb-table">{title}<thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table>{more}</div>"
    )


def _unit(unit: str | None) -> str:
    return f' <span class="fnb-unit">{escaped(unit)}</span>' if unit else ""


def _zone(values: pd.Series) -> str | None:
    return None if getattr(values.dtype, "tz", None) is None else "UTC"


def _breaks(cell: Html) -> str:
    is_long = len(cell) > (LONG_TEXT if " " in cell else LONG_WORD) and "<" not in cell  # a status stays in one piece
    return ' class="fnb-long"' if is_long else ""


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _cells(values: pd.Series, spec: str | None) -> list[Html]:
    """Return the cells of one column, the missing ones as a dash."""
    if spec is None and _is_number(values):
        spec = f",.{decimals(values)}f"
    if spec is None and pd.api.types.is_datetime64_any_dtype(values):
        values = _instants(values)
    return [_cell(value, spec) for value in values]


def _instants(values: pd.Series) -> pd.Series:
    """Return instants as text, all of a column alike: to the second, where none has a fraction."""
    in_utc = values.dt.tz_convert("UTC") if _zone(values) else values
    text = in_utc.dt.strftime("%Y-%m-%d %H:%M:%S.%f").str[:-3]
    return text.str[:-4] if (in_utc.dropna().dt.microsecond == 0).all() else text


def _cell(value: object, spec: str | None) -> Html:
    if _is_missing(value):
        return Html(f'<span class="fnb-none">{MISSING}</span>')
    return escaped(value if spec is None else format(value, spec))


def _is_missing(value: Any) -> bool:
    # A list is not a missing value; pandas would answer element by element.
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def decimals(values: pd.Series) -> int:
    """Return how many decimals show three significant digits of the smallest number of a column.

    Examples
    --------
    >>> decimals(pd.Series([1, 2])), decimals(pd.Series([12.3, 4567.8])), decimals(pd.Series([0.512, 12.3]))
    (0, 1, 3)
    """
    if pd.api.types.is_integer_dtype(values):
        return 0
    sizes = values.dropna().astype(float).abs()
    sizes = sizes[(sizes > 0) & (sizes < math.inf)]
    if sizes.empty:
        return 0
    return min(max(SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(sizes.min())), 0), MOST_DECIMALS)
