"""Lets pytest run the notebooks as a smoke run: nbmake starts their kernels in this environment."""

import os

os.environ["NOTEBOOKS"] = "smoke"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
