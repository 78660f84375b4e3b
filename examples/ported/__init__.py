"""Scripts as they are written for PyTorch, of which the imports alone were changed.

``python -m examples.ported.convnet`` runs one on tilegrad. Written back, ``tilegrad`` for ``torch`` in the import lines, it
is the PyTorch script again: tests/examples/test_ported.py does so, runs both on the same random numbers, and compares
their losses.
"""
