"""The command line `reckoner`: one module for each noun.

They import what they need when they are called, so that `--help` answers at once and no command has in memory what it
does not use.
"""

import sys

INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    try:
        # Imported here: Ctrl-C meanwhile is then no stack trace either.
        from reckoner.producer.cli.application import run

        code = run()
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)
