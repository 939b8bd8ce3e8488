"""`python -m meta_text` is the command `meta-text`."""

from meta_text.cli import main

main()
