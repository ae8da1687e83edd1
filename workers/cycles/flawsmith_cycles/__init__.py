# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenes in, pixels out, by Blender's Cycles."""
