"""Ends every node of the quick start's server; the server keeps running."""

from achilles.lineReceiver.achilles_main import killCluster

print(killCluster(host="127.0.0.1", port=9999, username="foo", secret_key="bar", command_verified=True))
