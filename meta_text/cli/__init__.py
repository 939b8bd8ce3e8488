"""The command line."""

from meta_text.cli.app import app, main

__all__ = ["app", "main"]
