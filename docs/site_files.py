"""What mkdocs needs beside docs/: the files of the repository that a page links to.

Links in docs/ are those of the repository, so that they work wherever it is browsed. Here a link
that leaves docs/ is turned to a copy in the site, at the file's own path below the root: Markdown
becomes a page, a folder a page that lists it, and every other file is copied as it is.
"""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
IN_NAV = ("CHANGELOG.md", "CONTRIBUTING.md")
"""Pages of the nav that are not in docs/."""
WIDE = ("claims.md", "documents.md")
"""Pages whose tables need the room of the list of contents, and which begin with one."""
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)#\s]+)")
_FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what the pages link to outside docs/, and what that links to."""
    waiting = [*IN_NAV, *(f"docs/{file.src_uri}" for file in files.documentation_pages())]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        if not path.startswith("docs/"):
            files.append(_file(path, config))
        new = {target for target in _targets(path) if not target.startswith("docs/")} - seen
        new = {target for target in new if (ROOT / target).exists()}  # mkdocs names the others
        seen |= new
        waiting += sorted(new)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between paths of the repository into links between paths of the site."""
    here = page.file.src_uri
    if here in WIDE:
        page.meta["hide"] = ["toc"]
    added = page.file.generated_by is not None
    source = here if added else f"docs/{here}"

    def turned(found: re.Match[str]) -> str:
        return relpath(_in_site(_resolved(source, found[1])), str(PurePosixPath(here).parent))

    parts = _FENCED.split(markdown)
    return "".join(p if p.startswith("```") else _LINK.sub(turned, p) for p in parts)


def _resolved(source: str, target: str) -> str:
    """The path in the repository that ``target`` is, as a link in the file ``source``."""
    return normpath(f"{PurePosixPath(source).parent}/{target}")


def _in_site(path: str) -> str:
    """Where a path of the repository is in the site."""
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"{path}/index.md" if (ROOT / path).is_dir() else path


def _targets(path: str) -> set[str]:
    """The files and folders that a file or folder of the repository leads to."""
    if (ROOT / path).is_dir():
        return {f"{path}/{name}" for name in _names(path)}
    if not path.endswith(".md"):
        return set()
    text = _FENCED.sub("", (ROOT / path).read_text("utf-8"))
    return {_resolved(path, target) for target in _LINK.findall(text)} - {"README.md"}


def _names(path: str) -> list[str]:
    names = (child.name for child in (ROOT / path).iterdir())
    return sorted(name for name in names if not name.startswith((".", "_")))


def _file(path: str, config: MkDocsConfig) -> File:
    """A file or folder of the repository as a file of the site."""
    in_nav = InclusionLevel.INCLUDED if path in IN_NAV else InclusionLevel.NOT_IN_NAV
    if (ROOT / path).is_dir():
        links = "\n".join(f"- [{name}]({name})" for name in _names(path))
        content = f"# {path}\n\n{links}\n"
        return File.generated(config, f"{path}/index.md", content=content, inclusion=in_nav)
    return File.generated(config, path, abs_src_path=str(ROOT / path), inclusion=in_nav)
