"""Errors of this package that are also those which programs written for joblib's loky catch."""

from __future__ import annotations

from pickle import PicklingError

from joblib.externals.loky.process_executor import TerminatedWorkerError

from ..errors import SerializationError
from ..worker_died_error import WorkerDiedError

__all__ = ["BatchNotSentError", "BatchWorkerDiedError", "as_loky_raises"]


class BatchWorkerDiedError(WorkerDiedError, TerminatedWorkerError):  # type: ignore[misc]  # joblib has no types
    """The worker process died while it ran this batch, on every attempt. Fields: as of `WorkerDiedError`."""


class BatchNotSentError(SerializationError, PicklingError):
    """A batch cannot be sent to a worker. Fields: as of `SerializationError`."""


def as_loky_raises(error: BaseException) -> BaseException:
    """The error for a caller of ``Parallel``: mostly itself."""
    known: type[WorkerDiedError] | type[SerializationError]
    if type(error) is WorkerDiedError:
        known = BatchWorkerDiedError
    elif type(error) is SerializationError:
        known = BatchNotSentError
    else:
        return error
    made = known(str(error), **error.fields)
    made.__cause__ = error.__cause__
    return made
