"""``twist achilles-server``: the server as a Twisted service, for twist and its supervisors.

Twisted imports every file in this directory to list its plugins, so nothing here may be heavy:
the server's code is imported when the service is made. This directory must have no
``__init__.py``, or it would hide Twisted's own.
"""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.application.service import IService, IServiceMaker
from twisted.plugin import IPlugin
from twisted.python import usage
from zope.interface import implementer


class Options(usage.Options):
    """The options of ``achilles server``; the key never comes on the command line."""

    optParameters: ClassVar[list[list[Any]]] = [
        ["host", None, None, "Address to listen on (default: every address)."],
        ["port", None, None, "TCP port (default: 9999).", int],
        ["username", None, None, "Who may connect (default: achilles)."],
        ["secret-key-file", None, None, "File that holds the secret key."],
    ]

    longdesc = (
        "Runs an achilles server. The secret key comes from --secret-key-file, the variable "
        "ACHILLES_SECRET_KEY, or an .env file: a service has nobody to show a new one to."
    )

    def postOptions(self) -> None:
        from achilles.config import load_server_settings, read_secret_key_file, require_strong_key
        from achilles.errors import ConfigError

        key_file = self["secret-key-file"]
        try:
            self.settings = load_server_settings(
                host=self["host"],
                port=self["port"],
                username=self["username"],
                secret_key=None if key_file is None else read_secret_key_file(key_file),
            )
            if self.settings.secret_key is None:
                raise ConfigError("No secret key is configured.", key="SECRET_KEY", source="nowhere")
            require_strong_key(self.settings)
        except ConfigError as error:
            raise usage.UsageError(str(error)) from error


@implementer(IServiceMaker, IPlugin)
class AchillesServerMaker:
    """Makes the service that ``achilles server`` runs."""

    tapname = "achilles-server"
    description = "An achilles server: hands packets of work to nodes."
    options = Options

    def makeService(self, options: Options) -> IService:
        from achilles.lineReceiver.achilles_server import server_service

        return server_service(options.settings)


achilles_server = AchillesServerMaker()
