"""Where a call of a scheduled function runs its functional calls, as ``pydron.conf`` says at that moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...config import load_settings
from ...errors import UnsupportedByEngine
from ...scheduling.calls import Calls
from ...scheduling.pool_calls import PoolCalls, program_calls
from .conf import Conf, find_conf, read_conf
from .kept_pools import borrow, give_back

__all__ = ["configured_calls"]


@contextmanager
def configured_calls() -> Iterator[Calls]:
    """Workers for one call of a scheduled function: the file's, or the settings' where there is no file.

    Those of type multicore are started here, and stopped at the end unless they are kept alive. The
    connection to a server is the program's, as everywhere.

    Raises:
        ConfigError: The file is wrong, or a setting is.
        UnsupportedByEngine: It asks for processes on other machines.
    """
    path = find_conf()
    if path is None:
        yield program_calls(load_settings())
        return
    conf = read_conf(path)
    _check_supported(conf)
    if conf.cluster is not None:
        yield program_calls(load_settings(address=conf.cluster.address, username=conf.cluster.username))
        return
    pool = borrow(conf.cores)
    try:
        yield PoolCalls(pool, conf.cores)
    finally:
        give_back(conf.cores, conf.keep_alive_s)


def _check_supported(conf: Conf) -> None:
    elsewhere = conf.elsewhere
    if elsewhere is None:
        return
    raise UnsupportedByEngine(
        f'{conf.path}, line {elsewhere.line}: workers of type "{elsewhere.type}" can\'t be started yet; that '
        "comes with the launching of nodes. Until then run `achilles server` on one machine and "
        "`achilles node HOST` on each that is to work for it, and make this the only entry: "
        '{"type": "cluster", "address": "HOST:9999"}.',
        engine=elsewhere.type,
    )
