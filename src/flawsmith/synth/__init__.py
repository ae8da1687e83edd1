"""Synthetic samples with exact labels."""
