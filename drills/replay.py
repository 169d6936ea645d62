"""A recorded run on the page and in the terminal again: the console plays it, the terminal follows it."""

import asyncio

from drills.child import Child, stop_all
from drills.conductor import Screen
from drills.observer import Observer
from drills.rundir import RunDir
from drills.stack import START_TIMEOUT_S, command


async def replay_run(run_dir: RunDir, speed: float, page_port: int, screen: Screen) -> None:
    """Until it has been played. Raises ChildFailed."""
    run_dir.head()  # complain before anything starts
    child = Child("replay", run_dir.path / "logs")
    try:
        ready = await child.start(
            command(
                "console",
                {"--replay": run_dir.path, "--speed": speed, "--listen": f"127.0.0.1:{page_port}"},
            ),
            START_TIMEOUT_S,
        )
        page = next(iter(ready.urls.values()))
        screen.say(f"live page: {page}")
        async with Observer(page) as observer:
            following = asyncio.ensure_future(screen.follow(page))
            try:
                while not (await observer.view()).ended:  # noqa: ASYNC110  (another process's state)
                    await asyncio.sleep(0.25)
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
    finally:
        await stop_all([child])
