"""Rows → model files: a vindex with its edits as files that other programs run.

``state`` says what the model with its edits consists of; the other modules write it.
"""
