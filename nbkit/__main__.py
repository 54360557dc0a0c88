"""`python -m nbkit`: the same as the console script `nbkit`."""

import sys

from nbkit.cli.commands import main

sys.exit(main())
