"""A module that leaves while it is imported."""

import sys

sys.exit("usage: quits_on_import.py FILE")
