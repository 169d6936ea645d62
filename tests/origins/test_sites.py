from contract.sites import SITES
from origins.sites import DEFAULT_SITE, KINDS, site_of


def test_there_are_at_least_fifty_sites_each_with_its_own_host_and_a_known_kind() -> None:
    assert len(SITES) >= 50
    assert len({site.host for site in SITES}) == len(SITES)
    assert all(site.host.endswith(".example") for site in SITES)
    assert {site.kind for site in SITES} == set(KINDS)


def test_a_host_header_names_its_site_with_or_without_port_and_in_any_case() -> None:
    for site in SITES:
        assert site_of(site.host) is site
        assert site_of(f"{site.host.upper()}:8080") is site


def test_an_unknown_or_missing_host_gets_the_default_site() -> None:
    assert site_of("nobody.example") is DEFAULT_SITE
    assert site_of("") is DEFAULT_SITE


def test_medians_are_those_of_ordinary_servers() -> None:
    assert all(5 <= kind.median_ms <= 60 for kind in KINDS.values())
