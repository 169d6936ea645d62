"""The bench as fixtures: a raw origin, and an edge in front of it that must end without a fault."""

import pytest
import uvloop

from tests.proxy.bench import Edge, RawOrigin


def pytest_asyncio_loop_factories(config, item):
    """The loop that a node runs on: its transports refuse what asyncio's forgive."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def origin():
    raw = RawOrigin()
    await raw.start()
    yield raw
    await raw.stop()


@pytest.fixture
async def edge(origin, tmp_path):
    front = Edge(origin, str(tmp_path))
    await front.start()
    yield front
    await front.stop()
