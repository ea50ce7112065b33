"""The quick start's server: hands packets of work to its nodes. Start it first."""

from achilles.lineReceiver.achilles_server import runAchillesServer

runAchillesServer(host="127.0.0.1", port=9999, username="foo", secret_key="bar")
