"""`python -m deployer`."""

import sys

from deployer.service import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
