"""The slow counts beside these tests are imported as `slow`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
