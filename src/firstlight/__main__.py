"""`python -m firstlight`: the same as the command `firstlight`."""

import sys

from firstlight.cli import main

sys.exit(main())
