"""A typed client of the HTTP API of ClassifyMe."""

from .client import Client
from .errors import ApiError, NotAnswered
from .types import (
    Correction,
    CorrectionMade,
    Explanation,
    Label,
    MeasuredLevel,
    Metrics,
    Model,
    Picture,
    Prediction,
    Probability,
    Region,
    Timings,
    Version,
)

__all__ = [
    "ApiError",
    "Client",
    "Correction",
    "CorrectionMade",
    "Explanation",
    "Label",
    "MeasuredLevel",
    "Metrics",
    "Model",
    "NotAnswered",
    "Picture",
    "Prediction",
    "Probability",
    "Region",
    "Timings",
    "Version",
]
