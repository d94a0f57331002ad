"""What is seen on a page of JupyterLab: progress bars that come and go, tables that do not fit, the contrast of texts."""

# Every state of a progress bar, however short it was there.
_WATCH_BARS = """() => {
  window.bars = [];
  new MutationObserver(() => document.querySelectorAll("progress").forEach(bar => {
    const shown = bar.parentElement.textContent.trim();
    if (window.bars.at(-1) !== shown) window.bars.push(shown);
  })).observe(document.body, {subtree: true, childList: true, attributes: true});
}"""
# The tables that do not fit, those of the closed sections too.
_TOO_WIDE = """() => {
  const closed = [...document.querySelectorAll(".fnb details:not([open])")];
  closed.forEach(one => one.open = true);
  const tables = [...document.querySelectorAll(".fnb-wide")].filter(one => one.scrollWidth > one.clientWidth);
  const found = tables.map(one => `${one.scrollWidth} > ${one.clientWidth}: ${one.innerText}`);
  closed.forEach(one => one.open = false);
  return found;
}"""
# The contrast of each text of the reports: colours are laid upon each other on a canvas, as the browser does it on the page.
_CONTRASTS = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const laid = color => {
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(part => part / 255)
      .map(part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const texts = [...document.querySelectorAll(".fnb-page *")].filter(one => one.checkVisibility()
    && [...one.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim()));
  return texts.map(one => {
    const below = [];
    for (let at = one; at; at = at.parentElement) below.unshift(getComputedStyle(at).backgroundColor);
    const dark = below.reduce((_, color) => laid(color), laid("white"));
    const [low, high] = [dark, laid(getComputedStyle(one).color)].sort((a, b) => a - b);
    return [one.textContent, (high + 0.05) / (low + 0.05)];
  });
}"""


def watch_bars(page):
    """Begin to note every state of a progress bar."""
    page.evaluate(_WATCH_BARS)


def bars_seen(page):
    """Return the words beside the bars, in every state that there was."""
    return page.evaluate("window.bars")


def too_wide_tables(page):
    """Return the reports' tables that are wider than the page, with both widths."""
    return page.evaluate(_TOO_WIDE)


def contrasts_of_texts(page):
    """Return each visible text of the reports, with its contrast to what lies below it, as WCAG defines it."""
    return page.evaluate(_CONTRASTS)
