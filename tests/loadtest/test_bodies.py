import random

import msgspec
import pytest

from loadtest.bodies import (
    POST_MAX_BYTES,
    POST_MIN_BYTES,
    POSTS,
    UPLOAD_MAX_BYTES,
    UPLOAD_MIN_BYTES,
    Prose,
    json_post,
    size_bytes,
    upload,
)

ABOUT = "/articles/a-quiet-harbour-1234"


@pytest.fixture(scope="module")
def prose() -> Prose:
    return Prose(random.Random(1))


def test_a_cut_is_about_as_long_as_asked_and_ends_with_a_word(prose: Prose) -> None:
    rng = random.Random(2)
    for length in (40, 400, 4000):
        text = prose.cut(rng, length)
        assert length - 15 < len(text) <= length
        assert not text.endswith(" ")
    assert prose.cut(rng, -5)


def test_sizes_have_the_median_and_the_limits() -> None:
    rng = random.Random(3)
    sizes = sorted(size_bytes(rng, 700, 1.6, 200, 4000) for _ in range(5000))
    assert 640 < sizes[2500] < 760
    assert (sizes[0], sizes[-1]) == (200, 4000)


@pytest.mark.parametrize("kind", sorted(POSTS))
def test_posts_are_json_objects_of_the_wanted_sizes(kind: str, prose: Prose) -> None:
    rng = random.Random(4)
    bodies = [json_post(rng, prose, kind, ABOUT)[2] for _ in range(300)]
    assert all(isinstance(msgspec.json.decode(body), dict) for body in bodies)
    lengths = sorted(len(body) for body in bodies)
    assert lengths[0] > POST_MIN_BYTES * 0.7
    assert lengths[-1] < POST_MAX_BYTES * 1.1
    assert 450 < lengths[150] < 1000
    assert all(b"\n" not in body for body in bodies)


def test_an_equals_sign_is_rare_in_json(prose: Prose) -> None:
    rng = random.Random(5)
    bodies = [json_post(rng, prose, "news", ABOUT)[2] for _ in range(1000)]
    assert 0 < sum(b"=" in body for body in bodies) < 60


def test_every_kind_of_site_takes_posts_under_api(prose: Prose) -> None:
    for kind, posts in POSTS.items():
        assert posts, kind
        assert all(path.startswith("/api/") for _, path, _ in posts)


def test_uploads_are_forms_and_raw_files_of_the_wanted_sizes() -> None:
    rng = random.Random(6)
    uploads = [upload(rng) for _ in range(300)]
    assert {content_type.partition(";")[0] for content_type, _ in uploads} == {
        "application/octet-stream",
        "multipart/form-data",
    }
    for content_type, body in uploads:
        assert UPLOAD_MIN_BYTES - 100 <= len(body) <= UPLOAD_MAX_BYTES
        if content_type.startswith("multipart"):
            boundary = content_type.partition("boundary=")[2].encode()
            assert body.startswith(b"--" + boundary)
            assert body.endswith(b"--" + boundary + b"--\r\n")
