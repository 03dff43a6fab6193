"""`python -m dlx`."""

from .cli import main

main()
