"""What a script imports from beside itself is found on nodes, which do not look there."""

from __future__ import annotations

import ast
import signal
import textwrap
from typing import Any

from tests.integration.cluster.parties import Cluster, Party, Place, run_program

Where = dict[str, Any]


def write(place: Place, directory: str, files: dict[str, str]) -> None:
    for name, text in files.items():
        place.write(f"{directory}/{name}", textwrap.dedent(text).lstrip())


def run(place: Place, directory: str, where: Where, *arguments: object) -> list[Any]:
    """What ``main.py`` of the directory printed, line by line."""
    code = (place.work / directory / "main.py").read_text()
    said = ", ".join(f"{key}={value!r}" for key, value in where.items())
    lines = run_program(place, f"{directory}/main_.py", code.replace("WHERE", said), *arguments)
    return [ast.literal_eval(line) for line in lines if line and not line.startswith("ALERT:")]


PROJECT = {
    "shop/__init__.py": "from .prices import price\nfrom . import taxes\n__version__ = '7'\n",
    "shop/prices.py": """
        from __future__ import annotations
        import decimal
        from .deep.rates import RATE
        class Price:
            def __init__(self, amount):
                self.amount = amount
            def taxed(self):
                from shop.taxes import add
                return Price(add(self.amount))
        def price(number):
            return Price(number * RATE)
        """,
    "shop/taxes.py": "from . import deep\ndef add(amount):\n    return amount + deep.rates.RATE\n",
    "shop/deep/__init__.py": "from . import rates\n",
    "shop/deep/rates.py": "RATE = 10\n",
    "words.py": "import shop\ndef version(_):\n    return shop.__version__, type(__loader__).__name__\n",
    "main.py": """
        from achilles import imap, map
        import shop
        import words

        def in_main(number):
            import words
            return shop.price(number).taxed().amount, words.__name__

        if __name__ == "__main__":
            packets = map(shop.price, [[1, 2]], shop.prices.Price.taxed, WHERE)
            print([price.amount for price in packets[0]])
            print(all(type(price) is shop.prices.Price for price in packets[0]))
            print(map(words.version, [[0]], WHERE))
            print(map(in_main, [[3]], WHERE))
        """,
}


def test_a_package_with_submodules_and_relative_imports(where: Where, place: Place) -> None:
    write(place, "project", PROJECT)
    said = run(place, "project", where)
    loader = "FetchedLoader" if "port" in where else "SourceFileLoader"
    assert said == [[20, 30], True, [[("7", loader)]], [[(40, "words")]]]


def versioned(version: int) -> dict[str, str]:
    # Python takes a file of the same second and length for the one that it has compiled already.
    edits = "# edited\n" * version
    return {
        "rules.py": f"VERSION = {version}\ndef rule(number):\n    return number * {version}\n{edits}",
        "main.py": """
            from achilles import map
            import rules
            def both(number):
                import rules
                return rules.rule(number), rules.VERSION
            print(map(rules.rule, [[1, 2]], WHERE))
            print(map(both, [[1]], WHERE))
            """,
    }


def test_versions_in_succession(where: Where, place: Place) -> None:
    for version in (1, 2, 3):
        write(place, "versions", versioned(version))
        assert run(place, "versions", where) == [[[version, 2 * version]], [[(version, version)]]]


TURNS = """
import os, sys, time
from achilles import imap
import rules

if __name__ == "__main__":
    gate = sys.argv[1]
    print("ready", flush=True)
    while not os.path.exists(gate):
        time.sleep(0.002)
    values = [value for packet in imap(rules.rule, range(300), WHERE) for value in packet["RESULT"]]
    print(values == [number * rules.VERSION for number in range(300)])
"""


def test_versions_at_the_same_time(pair: Cluster, place: Place) -> None:
    """The same workers run both, each with its own module of the same name."""
    gate = place.work / "turns"
    parties = []
    try:
        for version in (1, 2, 3):
            write(place, f"turns{version}", versioned(version))
            code = TURNS.replace("WHERE", f"host='127.0.0.1', port={pair.port}")
            script = place.write(f"turns{version}/main.py", code)
            parties.append(Party([script, gate], place=place))
        for party in parties:
            party.wait_for("ready")
        gate.touch()
        for party in parties:
            assert party.wait() == 0, party.text
            assert party.lines[-1] == "True", party.text
    finally:
        for party in parties:
            party.stop(signal.SIGKILL)


def test_a_module_that_fails_while_it_is_imported(where: Where, place: Place) -> None:
    files = {
        "broken.py": "raise LookupError('while it was imported')\n",
        "main.py": """
            from achilles import map
            def imports(_):
                import broken
            try:
                map(imports, [[1]], WHERE)
            except LookupError as error:
                print(repr(str(error)), flush=True)
            def missing(_):
                import nowhere_to_be_found
            try:
                map(missing, [[1]], WHERE)
            except ModuleNotFoundError as error:
                print(repr(error.name))
            """,
    }
    write(place, "broken", files)
    assert run(place, "broken", where) == ["while it was imported", "nowhere_to_be_found"]


def test_classes_of_the_script_keep_their_identity(where: Where, place: Place) -> None:
    main = """
        import dataclasses, enum
        from achilles import map

        @dataclasses.dataclass(frozen=True)
        class Point:
            x: int

        class Colour(enum.Enum):
            RED = 1
            BLUE = 2

        class Mistake(Exception):
            def __init__(self, point, colour):
                super().__init__(point, colour)
                self.point = point

        def dataclass(point):
            assert isinstance(point, Point)
            return dataclasses.replace(point, x=point.x + 1)

        def enumeration(colour):
            return Colour.BLUE if colour is Colour.RED else None

        def exception(point):
            raise Mistake(point, Colour.RED)

        if __name__ == "__main__":
            print(map(dataclass, [[Point(1)]], WHERE) == [[Point(2)]])
            print(map(enumeration, [[Colour.RED]], WHERE)[0][0] is Colour.BLUE)
            try:
                map(exception, [[Point(1)]], WHERE)
            except Mistake as error:
                print(error.point == Point(1) and error.args[1] is Colour.RED)
        """
    write(place, "classes", {"main.py": main})
    assert run(place, "classes", where) == [True, True, True]
