"""Vindexfiles: what a vindex is built from, statement by statement, and the building of it.

``syntax`` reads them, ``build`` carries them out, ``cache`` keeps what came of each statement.
"""
