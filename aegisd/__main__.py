"""``python -m aegisd`` is ``aegisd``."""

import sys

from aegisd.cli import main

sys.exit(main())
