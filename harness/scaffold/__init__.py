"""Scaffolding: what a project starts from. Files are written whole or not at all, and none is ever overwritten."""
