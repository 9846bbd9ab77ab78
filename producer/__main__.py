"""`python -m producer` is `reckoner`."""

from producer.cli import main

main()
