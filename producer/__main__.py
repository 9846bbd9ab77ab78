"""`python -m reckoner.producer` is `reckoner`."""

from reckoner.producer.cli import main

main()
