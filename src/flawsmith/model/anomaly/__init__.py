"""Anomalies: what healthy parts look like, learnt from healthy images alone, and how far a part departs from it."""

from flawsmith.model.anomaly.detector import METHODS, AnomalyDetector
from flawsmith.model.anomaly.settings import AnomalySettings

__all__ = ["METHODS", "AnomalyDetector", "AnomalySettings"]
