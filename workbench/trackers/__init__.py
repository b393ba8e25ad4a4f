"""Trackers: where reports are recorded for comparison; each exports ``TRACKER``."""
