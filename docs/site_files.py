"""Hooks of mkdocs: the site's files are the repository's, under the paths that they have there.

mkdocs reads one folder, and refuses the one that holds its configuration. README, CHANGELOG and the notebooks are outside
of docs/, and link into it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

PATTERNS = ("*.md", "docs/*.md", "docs/reference/*.md", "docs/images/*", "docs/site.css", "notebooks/*.ipynb")
FIRST = 100  # before mkdocs-jupyter looks for notebooks


@event_priority(FIRST)
def on_files(files: Files, config: "MkDocsConfig") -> Files:
    """Replace the files of docs/ by those of the repository, and keep the theme's."""
    root = Path(config.config_file_path).parent
    paths = [path.relative_to(root) for pattern in PATTERNS for path in sorted(root.glob(pattern))]
    themes = [file for file in files if file.src_dir != config.docs_dir]
    return Files([*themes, *(_file(path, root, config) for path in paths)])


def _file(path: Path, root: Path, config: "MkDocsConfig") -> File:
    return File(path.as_posix(), str(root), config.site_dir, config.use_directory_urls)


def on_page_markdown(markdown: str, page: "Page", **_: object) -> str:
    """Hide the navigation beside the front page, where it would be a single line."""
    if page.is_homepage:
        page.meta["hide"] = ["navigation"]
    return markdown
