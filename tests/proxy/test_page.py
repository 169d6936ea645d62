"""The edge's own pages: what a customer can read off them, and what cannot be smuggled in."""

import pytest

from proxy.page import error_page
from proxy.pipeline import EDGE_ANSWERS

AT = 1562075220.0  # 2 July 2019, 13:47 UTC


def page(host="shop.example", status=502):
    return error_page(status, host, "ams-1", "ams", "ams-1-16bb-7", AT).decode()


def test_the_502_page_names_itself_node_and_request():
    text = page()
    assert "<title>502 Bad Gateway | shop.example</title>" in text
    for quoted in ("<code>ams-1</code>", "<code>ams-1-16bb-7</code>", "Edge, ams", "2019-07-02 13:47:00 UTC"):
        assert quoted in text
    assert "{{" not in text


def test_a_host_is_text_never_markup():
    text = page('"><script>alert(1)</script>')
    assert "<script" not in text
    assert "&quot;&gt;&lt;script&gt;" in text


def test_a_host_that_looks_like_a_placeholder_is_not_filled_in():
    assert "<span>{{node}}</span>" in page("{{node}}")


def test_without_a_host_there_is_still_a_sentence():
    assert "<span>this site</span>" in page("")


@pytest.mark.parametrize("status", sorted({status for status, _ in EDGE_ANSWERS.values()}))
def test_every_status_that_the_edge_gives_has_a_page(status):
    assert f"{status} " in page(status=status)
