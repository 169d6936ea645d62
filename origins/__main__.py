"""`python -m origins`: parse, run."""

from origins.server import main

if __name__ == "__main__":
    raise SystemExit(main())
