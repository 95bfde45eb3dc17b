"""`python -m legwork_client` is the command `legwork`."""

import sys

from legwork_client.command import main

sys.exit(main())
