"""Flank wear of cutting inserts: measured, described, estimated and forecast."""
