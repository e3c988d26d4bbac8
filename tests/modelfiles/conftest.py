"""The model files that these tests make are imported as `layouts`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
