"""The boot file of a ModelArts job, started once for each card; see `--help`."""

import sys

from pangu_alpha.cluster.modelarts.boot_file import main

if __name__ == "__main__":
    sys.exit(main())
