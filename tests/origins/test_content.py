import pytest

from origins.content import MAX_FILE_BYTES, FileStore, front_page, item_page, item_record, rng_for, search_page
from origins.sites import SITES


def test_content_is_decided_by_seed_host_and_path() -> None:
    def told(seed: int, rank: int, path: str) -> object:
        site = SITES[rank]
        page = front_page(seed, site, path, "x"), item_page(seed, site, path), search_page(seed, site, path)
        return *page, item_record(seed, site, path)

    assert told(1, 0, "/a") == told(1, 0, "/a")
    assert told(1, 0, "/a") != told(2, 0, "/a")
    assert told(1, 0, "/a") != told(1, 1, "/a")
    assert told(1, 0, "/a") != told(1, 0, "/b")


def test_an_items_heading_is_read_from_its_address() -> None:
    assert item_page(1, SITES[0], "/articles/the-long%20walk-7").heading == "The long walk 7"


def test_cards_lead_to_items_of_the_site() -> None:
    page = front_page(1, SITES[1], "/", "x")
    assert len(page.cards) == 12
    assert all(card.path.startswith("/products/") and " " not in card.path for card in page.cards)


@pytest.mark.parametrize("size", [0, 1, 4097, MAX_FILE_BYTES])
def test_a_file_has_the_size_that_was_asked_for_and_always_the_same_bytes(size: int) -> None:
    one = bytes(FileStore(5).read("files.example", "/download/x", size))
    assert len(one) == size
    assert one == bytes(FileStore(5).read("files.example", "/download/x", size))


def test_files_differ_by_name_and_seed() -> None:
    store = FileStore(5)
    a = bytes(store.read("files.example", "/a", 1000))
    assert a != bytes(store.read("files.example", "/b", 1000))
    assert a != bytes(FileStore(6).read("files.example", "/a", 1000))


@pytest.mark.parametrize("size", [-1, MAX_FILE_BYTES + 1])
def test_a_file_beyond_the_limit_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=str(size)):
        FileStore(5).read("files.example", "/a", size)


def test_generators_of_equal_arguments_agree() -> None:
    assert rng_for(1, "a", "/").random() == rng_for(1, "a", "/").random()
