"""`python -m ftspec`."""

from ftspec.cli import main

main()
