import hashlib

import msgspec
import pytest

from origins.answers import Answers, Received
from origins.sites import KINDS, SITES, SITES_BY_HOST

SHOP = SITES_BY_HOST["shop.example"]


@pytest.fixture(scope="module")
def answers() -> Answers:
    return Answers(1)


@pytest.mark.parametrize(
    ("method", "path", "query", "status", "content_type"),
    [
        ("GET", "/", "", 200, "text/html"),
        ("HEAD", "/", "", 200, "text/html"),
        ("GET", "/sale", "", 200, "text/html"),
        ("GET", "/products/a-kettle-12", "", 200, "text/html"),
        ("GET", "/search", "q=kettle", 200, "text/html"),
        ("GET", "/api/products", "", 200, "application/json"),
        ("GET", "/api/products/12", "", 200, "application/json"),
        ("GET", "/static/site.css", "", 200, "text/css"),
        ("GET", "/download/5000/a.bin", "", 200, "application/octet-stream"),
        ("POST", "/api/orders", "", 201, "application/json"),
        ("PUT", "/api/profile", "", 201, "application/json"),
        ("POST", "/upload", "", 201, "application/json"),
        ("POST", "/login", "", 303, "application/json"),
        ("POST", "/cart", "", 200, "application/json"),
        ("GET", "/articles/of-another-kind-of-site", "", 404, "text/html"),
        ("GET", "/nothing", "", 404, "text/html"),
        ("GET", "/download/200001/a.bin", "", 404, "application/json"),
        ("GET", "/download/many/a.bin", "", 404, "application/json"),
        ("POST", "/", "", 404, "application/json"),
        ("DELETE", "/api/orders", "", 405, "application/json"),
    ],
)
def test_what_each_path_means(
    answers: Answers, method: str, path: str, query: str, status: int, content_type: str
) -> None:
    answer = answers.answer(SHOP, method, path, query, b"")
    assert answer.status == status
    assert answer.content_type.startswith(content_type)


def test_bodies_are_equal_for_equal_seeds_and_differ_between_sites_and_queries() -> None:
    one, same, other = Answers(1), Answers(1), Answers(2)
    assert one.answer(SHOP, "GET", "/", "", b"") == same.answer(SHOP, "GET", "/", "", b"")
    assert one.answer(SHOP, "GET", "/", "", b"").body != other.answer(SHOP, "GET", "/", "", b"").body
    bodies = {bytes(one.answer(site, "GET", "/", "", b"").body) for site in SITES}
    assert len(bodies) == len(SITES)
    assert (
        one.answer(SHOP, "GET", "/search", "q=a", b"").body != one.answer(SHOP, "GET", "/search", "q=b", b"").body
    )


def test_every_site_has_its_front_page_and_sections(answers: Answers) -> None:
    for site in SITES:
        for path in ("/", *(f"/{section}" for section in KINDS[site.kind].sections)):
            assert answers.answer(site, "GET", path, "", b"").status == 200


def test_a_download_has_the_size_in_its_path(answers: Answers) -> None:
    assert len(answers.answer(SHOP, "GET", "/download/123/a", "", b"").body) == 123


def test_a_post_is_answered_with_what_was_received(answers: Answers) -> None:
    answer = answers.answer(SHOP, "POST", "/api/orders", "", b'{"quantity": 3}')
    received = msgspec.json.decode(answer.body, type=Received)
    assert received.length == 15
    assert received.sha256 == hashlib.sha256(b'{"quantity": 3}').hexdigest()
    assert (received.site, received.path) == ("shop.example", "/api/orders")


@pytest.mark.parametrize(("path", "cookie"), [("/login", "session="), ("/cart", "cart=")])
def test_login_and_cart_set_their_cookie(answers: Answers, path: str, cookie: str) -> None:
    assert dict(answers.answer(SHOP, "POST", path, "", b"a=1").headers)["Set-Cookie"].startswith(cookie)
