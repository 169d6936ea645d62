"""For every test: our own coroutines must not block the event loop that they share with others."""

from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx

#: Not here: the drill runner, which reads files and starts processes on purpose. The console opens its page and
#: its record while nothing else runs yet.
LOOPS = ["analysis", "deployer"]


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[None]:
    with blockbuster_ctx(scanned_modules=LOOPS):
        yield
