"""Divergence: which cells say the same bytes, and where and how two outputs differ.

Pure functions over bytes and digests: nothing here reads a file, a clock or a cell.
"""
