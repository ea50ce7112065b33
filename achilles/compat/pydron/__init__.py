"""pydron's two decorators, and its ``pydron.conf``, on achilles."""
