"""Starts one node. The forkserver is forked first, while this process is small and single-threaded."""

import sys


def main() -> int:
    from proxy.config import ConfigError, parse_args

    try:
        config = parse_args(sys.argv[1:])
    except ConfigError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2

    from proxy.forkserver import start_forkserver

    forkserver = start_forkserver()

    from proxy.node import run

    return run(config, forkserver)


if __name__ == "__main__":
    sys.exit(main())
