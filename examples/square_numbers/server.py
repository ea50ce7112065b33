"""Start first: python server.py [PORT]"""

import sys

from achilles.lineReceiver.achilles_server import runAchillesServer

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 9999

if __name__ == "__main__":
    runAchillesServer(host="127.0.0.1", port=PORT, username="foo", secret_key="bar")
