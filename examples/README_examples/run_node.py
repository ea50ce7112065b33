"""The quick start's node: lends this machine's cores to the server."""

from achilles.lineReceiver.achilles_node import runAchillesNode

runAchillesNode(host="127.0.0.1", port=9999)
