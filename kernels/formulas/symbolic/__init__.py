"""Formulas as syntax trees: reading and writing their source, tangents, tidying."""
