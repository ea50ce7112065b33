"""The translation, in small steps, each with a contract (`contract.py`); `translation.py` has their order."""
