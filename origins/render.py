"""Content in, HTML bytes out: the templates in `pages/`, read and compiled once when the process starts."""

from pathlib import Path

from jinja2 import DictLoader, Environment

from contract.sites import SiteSpec
from origins.content import PageContent
from origins.sites import KINDS

PAGES = Path(__file__).parent / "pages"


class Renderer:
    """All templates, compiled. Reads files in its constructor and never again: requests do no file I/O."""

    def __init__(self) -> None:
        sources = {path.name: path.read_text(encoding="utf-8") for path in sorted(PAGES.glob("*.html"))}
        env = Environment(loader=DictLoader(sources), autoescape=True, auto_reload=False)
        self._templates = {name: env.get_template(name) for name in sources}

    def html(self, layout: str, site: SiteSpec, page: PageContent) -> bytes:
        """The page as UTF-8. `layout`: a file name in `pages/` without its ending; KeyError if there is none."""
        text = self._templates[f"{layout}.html"].render(site=site, kind=KINDS[site.kind], page=page)
        return text.encode()
