"""Start one or more, when the server runs: python node.py [PORT [CPU_COUNT]]"""

import sys

from achilles.lineReceiver.achilles_node import runAchillesNode

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 9999
CPU_COUNT = int(sys.argv[2]) if len(sys.argv) > 2 else None

if __name__ == "__main__":
    runAchillesNode(host="127.0.0.1", port=PORT, cpu_count=CPU_COUNT)
