"""Shared fixtures: tests/README is the docstring of each."""
