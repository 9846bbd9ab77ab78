"""What does a person type? The command line `reckoner`, one module for each noun.

Commands import their dependencies when called: `--help` stays fast, and no command loads modules it does not use.
"""

import sys

INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    try:
        # Imported here, so that Ctrl-C during the import prints no stack trace either.
        from reckoner.producer.cli.application import run

        code = run()
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)
