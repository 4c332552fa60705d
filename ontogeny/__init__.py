"""Ontogeny carries a language model through its whole life: one recipe, every change measured."""

__version__ = "0.1.0"
