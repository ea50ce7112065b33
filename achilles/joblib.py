"""``import achilles.joblib`` makes achilles a backend of joblib.

::

    import achilles.joblib
    from joblib import Parallel, delayed, parallel_config

    with parallel_config(backend="achilles", address="10.0.0.5:9999"):
        results = Parallel()(delayed(function)(argument) for argument in arguments)

joblib looks for no backends that it was not told of, so the import is needed, in this order or the other.
`AchillesBackend` may also be given itself, as ``parallel_config(backend=AchillesBackend(address=...))``.
"""

from __future__ import annotations

from joblib import register_parallel_backend

from .pool.joblib_backend import AchillesBackend

__all__ = ["AchillesBackend"]

register_parallel_backend("achilles", AchillesBackend)
