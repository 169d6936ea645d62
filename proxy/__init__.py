"""One edge node: a front on an event loop, a forkserver, and inspectors that evaluate rules apart from it."""
