"""`python -m console`: the observer's process."""

from console.app import main

if __name__ == "__main__":
    raise SystemExit(main())
