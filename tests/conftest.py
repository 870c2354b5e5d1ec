"""Tests run with the IR verified after each stage."""

import os

os.environ.setdefault("GRADC_DEBUG", "1")
