"""`python -m steelman`."""

import sys

from steelman.cli import main

sys.exit(main())
