"""``python -m achilles``: the command line, where the ``achilles`` command is not on the path."""

from __future__ import annotations

from achilles.cli.main import main

if __name__ == "__main__":
    main()
