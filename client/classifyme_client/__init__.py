"""A typed client of the HTTP API of ClassifyMe."""

from .client import Client
from .errors import ApiError, NotAnswered
from .types import (
    Correction,
    CorrectionMade,
    Label,
    MeasuredLevel,
    Metrics,
    Model,
    Picture,
    Prediction,
    Probability,
    Timings,
    Version,
)

__all__ = [
    "ApiError",
    "Client",
    "Correction",
    "CorrectionMade",
    "Label",
    "MeasuredLevel",
    "Metrics",
    "Model",
    "NotAnswered",
    "Picture",
    "Prediction",
    "Probability",
    "Timings",
    "Version",
]
