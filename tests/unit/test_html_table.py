"""What a notebook shows: escaped, without secrets, and never an error."""

from __future__ import annotations

from achilles.html_table import html_table


class Shown:
    def __init__(self, rows: object) -> None:
        self.rows = rows

    def made(self) -> dict[str, object]:
        if isinstance(self.rows, Exception):
            raise self.rows
        return {"where": self.rows}


def test_values_are_escaped() -> None:
    shown = Shown("<script>&'\"")
    table = html_table(shown, shown.made)
    assert "<script>" not in table and "&lt;script&gt;&amp;" in table


def test_what_cannot_be_asked_is_left_out() -> None:
    shown = Shown(RuntimeError("gone"))
    assert "Shown" in html_table(shown, shown.made)


def test_a_value_that_cannot_be_shown() -> None:
    class Wild:
        def __str__(self) -> str:
            raise RuntimeError

    shown = Shown(Wild())
    assert "<table>" in html_table(shown, shown.made)
