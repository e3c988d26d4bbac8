"""The tables and the checks of these tests are imported as `tables` and `edge`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
