"""What the extra ``tools`` brings, or the sentence that says so."""

import sys

try:
    import pandas as pd  # noqa: F401
    import tabulate  # noqa: F401  to_markdown fails late without
except ImportError as error:
    sys.exit(f'{error}: run pip install "mmpose_lossplus[tools]".')
