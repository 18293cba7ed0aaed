"""When the moving statistics of TensorFlow's systems change: tries all claims.

``main()`` prints one JSON object: for each claim whether it was seen to hold, or that its part is absent.
"""

import importlib
import json
import sys
import warnings
from typing import Dict, List

from adapters.tf_base import tf
from adapters.tf_claims import CLAIMS, tried

#: Importing them registers their claims.
MODULES = ("adapters.tf_updates_contrib", "adapters.tf_updates_others")


def main() -> None:
    """Try everything and print what was seen."""
    warnings.simplefilter("ignore")
    for module in MODULES:
        importlib.import_module(module)
    found: List[Dict[str, str]] = []
    for system, function in CLAIMS:
        outcome, why = tried(function)
        text = str(function.__doc__)
        found.append({"name": function.__name__, "system": system, "claim": text, "outcome": outcome, "why": why})
    json.dump({"version": str(tf.__version__), "claims": found}, sys.stdout)
