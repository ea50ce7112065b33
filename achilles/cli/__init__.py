"""The ``achilles`` command: ``main.py`` is its entry, one module per group of subcommands."""
