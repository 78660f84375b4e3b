"""Differentiation rules and the functions that use them, per family of ops."""
