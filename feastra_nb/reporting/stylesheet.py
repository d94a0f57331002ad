"""The style sheet of the reports' pages: scoped to ``.fnb``, so that it changes nothing else in a notebook."""

# Every colour asks JupyterLab's theme first, then VS Code's, and only then the browser's light or dark scheme: a dark
# desktop with a light notebook must get light colours. A theme's own tones are pale (orange on white: 2.7:1), so a
# status mixes in some of the text's colour.
STYLE = """
.fnb{--fnb-d-ink:#1f2328;--fnb-d-soft:#626a73;--fnb-d-line:#d5dae0;--fnb-d-ok:#1a7f37;--fnb-d-warn:#9a5b00;
--fnb-d-bad:#c62828;--fnb-d-info:#0b62c4}
@media (prefers-color-scheme:dark){.fnb{--fnb-d-ink:#e6e8eb;--fnb-d-soft:#9da5af;--fnb-d-line:#3b424a;
--fnb-d-ok:#5bc27b;--fnb-d-warn:#e5a13d;--fnb-d-bad:#f2827c;--fnb-d-info:#6cb0ff}}
.fnb{--fnb-ink:var(--jp-ui-font-color1,var(--vscode-editor-foreground,var(--fnb-d-ink)));
--fnb-soft:var(--jp-ui-font-color2,var(--vscode-descriptionForeground,var(--fnb-d-soft)));
--fnb-line:var(--jp-border-color2,var(--vscode-widget-border,var(--fnb-d-line)));
--fnb-ok:var(--jp-success-color1,var(--vscode-charts-green,var(--fnb-d-ok)));
--fnb-warn:var(--jp-warn-color1,var(--vscode-charts-orange,var(--fnb-d-warn)));
--fnb-bad:var(--jp-error-color1,var(--vscode-charts-red,var(--fnb-d-bad)));
--fnb-info:var(--jp-info-color1,var(--vscode-charts-blue,var(--fnb-d-info)));
color:var(--fnb-ink);font-family:var(--jp-ui-font-family,system-ui,-apple-system,"Segoe UI",sans-serif);
font-size:var(--jp-ui-font-size1,13px);line-height:1.45}
.fnb .fnb-text{display:none}
.fnb .fnb-page{display:block !important}
.fnb .fnb-title{font-size:1.25em;font-weight:600;margin:.2em 0 .4em}
.fnb .fnb-lead,.fnb .fnb-note{margin:.3em 0;max-width:70em}
.fnb .fnb-note{color:var(--fnb-soft)}
.fnb details{margin:.5em 0}
.fnb summary{cursor:pointer;font-weight:600;padding:.2em 0}
.fnb .fnb-wide{overflow-x:auto}
.fnb .fnb-table{border-collapse:collapse;border:0;margin:.3em 0;font-size:1em;color:inherit;table-layout:auto}
.fnb .fnb-table caption{caption-side:top;color:var(--fnb-soft);text-align:left;padding:.2em 0}
.fnb .fnb-table th,.fnb .fnb-table td{border:0;padding:.25em .7em .25em 0;text-align:left;vertical-align:baseline;
background:none;max-width:40em;white-space:nowrap}
.fnb .fnb-table thead th{border-bottom:1px solid var(--fnb-line);font-weight:600;vertical-align:bottom;white-space:normal}
.fnb .fnb-table .fnb-long{white-space:normal;min-width:14em;max-width:50em;overflow-wrap:anywhere}
.fnb .fnb-table tbody tr:nth-child(n){background:none}
.fnb .fnb-table tbody tr+tr td{border-top:1px solid var(--fnb-line)}
.fnb .fnb-table .fnb-number{text-align:right;font-variant-numeric:tabular-nums;padding-left:.1em}
.fnb .fnb-unit,.fnb .fnb-none{color:var(--fnb-soft);font-weight:400}
.fnb .fnb-status{font-weight:600;white-space:nowrap;color:color-mix(in srgb,var(--fnb-tone) 70%,var(--fnb-ink))}
.fnb .fnb-ok{--fnb-tone:var(--fnb-ok)}.fnb .fnb-warn{--fnb-tone:var(--fnb-warn)}
.fnb .fnb-bad{--fnb-tone:var(--fnb-bad)}.fnb .fnb-info{--fnb-tone:var(--fnb-info)}
.fnb .fnb-unknown{--fnb-tone:var(--fnb-soft)}
.fnb .fnb-facts{display:grid;grid-template-columns:max-content auto;gap:.15em 1.2em;margin:.3em 0}
.fnb .fnb-facts dt,.fnb .fnb-facts dd{float:none;width:auto;margin:0}
.fnb .fnb-facts dt{color:var(--fnb-soft);font-weight:400}
.fnb .fnb-card{border-left:3px solid var(--fnb-tone);padding:.15em 0 .15em .8em;margin:.7em 0;max-width:62em;overflow-wrap:anywhere}
.fnb .fnb-head{font-weight:600}
.fnb pre.fnb-code{margin:.3em 0 0;padding:.3em .6em;background:color-mix(in srgb,var(--fnb-line) 35%,transparent);color:inherit;
font-family:var(--jp-code-font-family,ui-monospace,monospace);font-size:.95em;white-space:pre-wrap;user-select:all}
.fnb .fnb-bar{display:inline-block;position:relative;width:9em;height:.7em;
background:color-mix(in srgb,var(--fnb-line) 45%,transparent)}
.fnb .fnb-fill{position:absolute;left:0;top:0;bottom:0;background:var(--fnb-bad);opacity:.75}
.fnb .fnb-span{position:absolute;top:calc(50% - 1px);height:2px;background:var(--fnb-ink)}
.fnb img{max-width:100%;height:auto;background:none}
.fnb .fnb-light{display:inline}
.fnb .fnb-dark{display:none}
@media (prefers-color-scheme:dark){.fnb .fnb-light{display:none}.fnb .fnb-dark{display:inline}}
[data-jp-theme-light=true] .fnb .fnb-light,.vscode-light .fnb .fnb-light{display:inline}
[data-jp-theme-light=true] .fnb .fnb-dark,.vscode-light .fnb .fnb-dark{display:none}
[data-jp-theme-light=false] .fnb .fnb-light,.vscode-dark .fnb .fnb-light{display:none}
[data-jp-theme-light=false] .fnb .fnb-dark,.vscode-dark .fnb .fnb-dark{display:inline}
"""

DOCUMENT_STYLE = """:root{color-scheme:light dark}
body{margin:2rem auto;max-width:75rem;padding:0 1.25rem;background:#fff}
@media (prefers-color-scheme:dark){body{background:#16181b}}"""
