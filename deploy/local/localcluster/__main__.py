"""`python3 -m localcluster COMMAND …`: entry point of the commands for tests."""

import sys

from .cli import COMMANDS, main

if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
    sys.exit(f"usage: python3 -m localcluster {'|'.join(COMMANDS)} …")
sys.exit(main(sys.argv[1], sys.argv[2:]))
