import pytest

from origins.content import Card, PageContent, front_page
from origins.render import Renderer
from origins.sites import KINDS, SITES


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer()


def test_every_kind_has_a_page_that_shows_its_title_and_its_cards(renderer: Renderer) -> None:
    seen = set()
    for site in SITES:
        page = front_page(1, site, "/", site.title)
        html = renderer.html(KINDS[site.kind].layout, site, page).decode()
        assert html.startswith("<!doctype html>")
        assert site.host in html
        assert all(card.path in html for card in page.cards)
        assert 3_000 < len(html) < 12_000
        seen.add(site.kind)
    assert seen == set(KINDS)


def test_what_a_visitor_wrote_in_an_address_is_escaped(renderer: Renderer) -> None:
    page = PageContent("<script>alert(1)</script>", "", (), (Card("<b>", '/"x', "", ""),))
    html = renderer.html("item", SITES[0], page).decode()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_an_unknown_layout_is_a_fault(renderer: Renderer) -> None:
    with pytest.raises(KeyError):
        renderer.html("nothing", SITES[0], PageContent("", "", (), ()))
