"""`python -m nbkit`: the same as the console script `nbkit`."""

import sys

from nbkit.cli.main import main

sys.exit(main())
