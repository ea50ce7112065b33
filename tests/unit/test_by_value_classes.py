"""Classes of ``__main__``: one identity per process, however often and from wherever they arrive."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

from achilles.serialization import deserialize, join, serialize
from tests.unit.main_program import run_script


def test_classes_keep_one_identity(tmp_path: Path) -> None:
    run_script(
        """
        import abc, enum, functools, typing
        from dataclasses import dataclass, field, fields, replace, MISSING

        class Node:
            count = 5
            def __init__(self, value, below=()):
                self.value, self.below = value, list(below)
            def total(self):
                return self.value + sum(child.total() for child in self.below)
            def again(self):
                return Node(self.value, self.below)
            def leaf(self):
                return Leaf(self.value)
            @property
            def double(self): return self.value * 2
            @classmethod
            def make(cls, v): return cls(v)
            @staticmethod
            def plain(x): return x + 1
            @functools.cached_property
            def slow(self): return self.value ** 2
            def __eq__(self, other): return type(self) is type(other) and self.value == other.value
            def __hash__(self): return hash(self.value)
        class Leaf(Node):
            def __init__(self, value):
                super().__init__(value)
            def total(self):
                return super().total() + 100
            def parent(self):
                return Node(self.value)
            def __private(self): return self.value
            def private(self): return self.__private

        @dataclass
        class Point:
            x: int
            tags: list = field(default_factory=list)
            def shifted(self, by): return replace(self, x=self.x + by)
        @dataclass(frozen=True, order=True)
        class Frozen:
            a: int
            b: str = "b"
        @dataclass(slots=True)
        class Slotted:
            a: int
            b: float = 2.0
        @dataclass(frozen=True, slots=True)
        class Both:
            a: int
        class HandSlots:
            __slots__ = ("a", "__hidden")
            def __init__(self, a): self.a, self.__hidden = a, a + 1
            def hidden(self): return self.__hidden
        class Shape(abc.ABC):
            @abc.abstractmethod
            def area(self): ...
        class Square(Shape):
            def __init__(self, side): self.side = side
            def area(self): return self.side ** 2
        @Shape.register
        class Virtual: pass
        class Meta(type):
            made = 0
            def __new__(mcls, name, bases, namespace, *, tag=None):
                Meta.made += 1
                cls = super().__new__(mcls, name, bases, namespace)
                cls.tag = tag
                return cls
            def __init__(cls, name, bases, namespace, **keywords):
                super().__init__(name, bases, namespace)
            def shout(cls): return cls.__name__.upper()
        class Made(metaclass=Meta, tag="t"):
            pass
        class Unhashable(type):
            def __eq__(cls, other): return cls is other
        class Odd(metaclass=Unhashable):
            def value(self): return 1
        class Plugin:
            known = []
            def __init_subclass__(cls, *, key, **keywords):
                super().__init_subclass__(**keywords)
                cls.key = key
                Plugin.known.append(cls)
        class One(Plugin, key="one"):
            pass
        T = typing.TypeVar("T")
        class Box(typing.Generic[T]):
            def __init__(self, item: T): self.item = item
            def get(self) -> T: return self.item
        class IntBox(Box[int]): pass
        @typing.runtime_checkable
        class HasArea(typing.Protocol):
            def area(self) -> int: ...
        class Movie(typing.TypedDict, total=False):
            name: str
        class Pair(typing.NamedTuple):
            "a pair"
            x: int
            y: int = 4
            def sum(self): return self.x + self.y
        UserId = typing.NewType("UserId", int)

        with Remote() as remote:
            for make in (lambda: Node(3, [Node(4), Leaf(5)]), lambda: Leaf(2), lambda: Point(1, ["t"]),
                         lambda: Frozen(1), lambda: Slotted(1), lambda: Both(3), lambda: Square(4),
                         lambda: Made(), lambda: One(), lambda: Box(3), lambda: IntBox(4),
                         lambda: Pair(1), lambda: Virtual(), lambda: HandSlots(3)):
                sent = make()
                back = remote(lambda obj: obj, sent)
                assert type(back) is type(sent), type(sent)
                built = remote(make)
                assert type(built) is type(sent), type(sent)
                if type(sent).__eq__ is not object.__eq__:
                    assert back == sent == built
            tree = Node(3, [Node(4), Leaf(5)])
            assert remote(lambda t: (t.total(), t.double, t.make(8)), tree) == (112, 6, Node(8))
            assert remote(lambda t: (t.plain(1), t.slow, type(t).count), tree) == (2, 9, 5)
            assert type(remote(tree.again)) is Node and type(remote(tree.leaf)) is Leaf
            assert type(remote(Leaf(1).parent)) is Node
            assert remote(Leaf.make, 4) == Leaf(4)
            assert remote(Leaf(6).private()) == 6
            assert remote(lambda xs: [type(x) is Node for x in xs], [tree, tree]) == [True, True]
            assert remote(Node, 4) == Node(4)
            back = remote(lambda xs: xs, [tree] * 1000)
            assert all(x is back[0] for x in back) and type(back[0]) is Node

            assert remote(lambda p: p.shifted(2), Point(1, ["t"])) == Point(3, ["t"])
            assert remote(lambda: Point(4)) == Point(4)
            assert remote(lambda: [f.default is MISSING for f in fields(Point)]) == [True, True]
            @dataclass
            class Deeper(Point):
                z: int = 9
            assert remote(lambda: Deeper(1).shifted(1)) == Deeper(2)
            assert remote(lambda: sorted([Frozen(2), Frozen(1)])) == [Frozen(1), Frozen(2)]
            error = raised(remote, lambda f: setattr(f, "a", 2), Frozen(1))
            assert type(error).__name__ == "FrozenInstanceError"
            assert remote(lambda s: not hasattr(s, "__dict__") and s.b, Slotted(1)) == 2.0
            assert remote(lambda h: (h.a, h.hidden()), HandSlots(3)) == (3, 4)
            assert remote(lambda s: s.area(), Square(4)) == 16
            assert isinstance(raised(remote, lambda: Shape()), TypeError)
            assert remote(lambda v: isinstance(v, Shape), Virtual()) is True
            made_here = Meta.made
            assert remote(lambda: (Made.shout(), Made.tag, Meta.made)) == ("MADE", "t", made_here)
            assert remote(lambda: (One.key, Plugin.known == [One])) == ("one", True)
            assert remote(lambda: (Box(2).get(), Box[int].__args__ == (int,))) == (2, True)
            assert remote(lambda: Box.__parameters__ == (T,))
            assert remote(lambda: (Odd, Odd().value())) == (Odd, 1)
            assert remote(lambda: T) is T
            assert remote(lambda s: isinstance(s, HasArea), Square(1)) is True
            assert remote(lambda: Movie(name="n")) == {"name": "n"}
            assert remote(lambda: Movie.__optional_keys__) == {"name"}
            assert remote(lambda: Movie) is Movie
            assert remote(lambda p: (p.sum(), p._replace(x=9), Pair.__doc__, Pair(5), repr(p)), Pair(1)) == (
                5, (9, 4), "a pair", (5, 4), "Pair(x=1, y=4)")
            assert remote(lambda: UserId(4)) == 4 and remote(lambda: UserId).__name__ == "UserId"
            assert remote(lambda: type("Local", (), {"n": 4})()).n == 4
            def maker():
                class Inner:
                    def me(self): return Inner
                return Inner()
            first = remote(maker)
            assert first.me() is type(first)
            assert remote(lambda obj: type(obj) is obj.me(), first) is True
        """,
        tmp_path,
    )


def test_classes_whose_definition_holds_their_own_instances(tmp_path: Path) -> None:
    run_script(
        """
        import abc
        from dataclasses import dataclass
        @dataclass(frozen=True, slots=True)
        class Vector:
            x: int
            def is_origin(self): return self == ORIGIN
            def named(self): return NAMES.get(self)
        ORIGIN = Vector(0)
        NAMES = {Vector(1): "unit", ORIGIN: "origin"}
        class Shape(abc.ABC):
            default = None
            @abc.abstractmethod
            def area(self): ...
        class Square(Shape):
            def __init__(self, side): self.side = side
            def __reduce__(self): return Square, (self.side,)
            def area(self): return self.side ** 2
            def bigger(self): return self.area() > Shape.default.area()
        Shape.default = Square(2)
        Square.unit = Square(1)
        with Remote() as remote:
            assert remote(lambda v: (v.is_origin(), v.named()), Vector(0)) == (True, "origin")
            assert remote(lambda: Vector(1).named()) == "unit"
            assert remote(lambda: NAMES) == NAMES
            assert remote(lambda s: (s.bigger(), s.unit.area()), Square(3)) == (True, 1)
            assert type(remote(lambda: Shape.default)) is Square
        """,
        tmp_path,
    )


def test_enums(tmp_path: Path) -> None:
    run_script(
        """
        import enum, operator
        class Colour(enum.Enum):
            RED = 1
            GREEN = "g"
            ALSO_RED = 1
            def other(self): return Colour.GREEN if self is Colour.RED else Colour.RED
        class Level(enum.IntEnum):
            LOW = 1
            HIGH = 2
        class Mode(enum.Flag):
            R = enum.auto()
            W = enum.auto()
            RW = R | W
        class Bits(enum.IntFlag, boundary=enum.KEEP):
            A = 1
        class Word(enum.StrEnum):
            HELLO = enum.auto()
        class Planet(enum.Enum):
            EARTH = (5.97, 6.37)
            MARS = (0.64, 3.39)
            def __init__(self, mass, radius):
                self.mass, self.radius = mass, radius
            @property
            def density(self): return self.mass / self.radius ** 3
        class Coded(str, enum.Enum):
            def __new__(cls, text, code):
                member = str.__new__(cls, text)
                member._value_ = code
                member.code = code
                return member
            A = ("alpha", 1)
            B = ("beta", 2)
        class Operation(enum.Enum):
            ADD = enum.member(operator.add)
            @classmethod
            def _missing_(cls, value): return cls.ADD
        members = [Colour.RED, Colour.GREEN, Level.HIGH, Mode.R, Mode.RW, Bits.A, Word.HELLO,
                   Planet.MARS, Coded.B, Operation.ADD]
        with Remote() as remote:
            for member in members:
                assert remote(lambda m: m, member) is member, member
                assert remote(lambda: member) is member, member
            assert remote(lambda c: [x.name for x in type(c)], Colour.RED) == ["RED", "GREEN"]
            assert remote(lambda: Colour(1) is Colour.ALSO_RED and Colour.RED.other() is Colour["GREEN"])
            assert remote(lambda: sorted([Level.HIGH, Level.LOW])) == [Level.LOW, Level.HIGH]
            assert remote(lambda: (Mode.R | Mode.W) is Mode.RW) is True
            assert remote(lambda: Bits(9) & 8) == 8
            assert remote(lambda: (Planet.MARS.mass, Planet.EARTH.density)) == (0.64, Planet.EARTH.density)
            assert remote(lambda: (Coded(1), Coded.B.code, Coded.A.upper())) == (Coded.A, 2, "ALPHA")
            assert remote(lambda: Operation("nothing")) is Operation.ADD
            assert remote(lambda: f"{Word.HELLO}") == "hello"
            assert remote(lambda: {Colour.RED: 1}) == {Colour.RED: 1}
        """,
        tmp_path,
    )


def test_state_is_refreshed_per_job_and_kept_within_one(tmp_path: Path) -> None:
    run_script(
        """
        SEEN = {}
        RATE = 1
        class Model:
            power = 2
            def __init__(self, n): self.n = n
            def run(self):
                SEEN[self.n] = True
                return self.n ** self.power * RATE
        def work(n):
            Model(n).run()
            return len(SEEN)
        def work_on(model):
            assert type(model) is Model
            model.run()
            return len(SEEN)
        def rate(model):
            return model.run()
        with Remote() as remote:
            remote.keep("one", work_on)
            # the function and its class share the globals of the payload they came with,
            # whatever the arguments bring along
            assert [remote.call("one", Model(n)) for n in range(3)] == [1, 2, 3]
            Model.power, RATE = 3, 10
            remote.keep("two", rate)
            assert remote.call("two", Model(2)) == 80
            remote.keep("three", work)
            assert [remote.call("three", n) for n in range(2)] == [1, 2]
            # edited between jobs, reached only through the arguments
            RATE = 1000
            remote.keep("four", lambda m: m.run())
            assert remote.call("four", Model(2)) == 8000
            # a class made there and edited there is not taken back
            def edit(model):
                type(model).power = 99
                return model
            assert remote(edit, Model(1)).power == 3 and Model.power == 3
        """,
        tmp_path,
    )


def test_classes_that_were_sent_can_still_go() -> None:
    def send() -> weakref.ref[type]:
        class Local:
            def itself(self) -> type:
                return Local

        serialized = serialize([Local()], "object")
        assert type(deserialize(join(serialized), "object")[0]) is Local
        return weakref.ref(Local)

    gone = send()
    gc.collect()
    assert gone() is None


def test_two_threads_get_one_class(tmp_path: Path) -> None:
    run_script(
        """
        class Shared:
            def value(self): return helper(4)
        def helper(x): return x * 2
        def load_often(payload):
            import threading
            from achilles.serialization import deserialize
            found = []
            barrier = threading.Barrier(4)
            def load():
                barrier.wait(60)
                for _ in range(20):
                    obj = deserialize(payload, "object")
                    found.append((type(obj), obj.value()))
            threads = [threading.Thread(target=load) for _ in range(4)]
            for thread in threads: thread.start()
            for thread in threads: thread.join(60)
            return len(found), len(set(found)), found[0]
        with Remote() as remote:
            payload = bytes(join(serialize(Shared(), "object")))
            assert remote(load_often, payload) == (80, 1, (Shared, 8))
        """,
        tmp_path,
    )


def test_a_class_redefined_is_another_class(tmp_path: Path) -> None:
    run_script(
        """
        with Remote() as remote:
            class A:
                def v(self): return 1
            old = A()
            assert remote(lambda: A().v()) == 1
            class A:
                def v(self): return 2
            assert remote(lambda: A().v()) == 2
            assert type(remote(lambda x: x, old)) is type(old)
            assert type(remote(lambda x: x, old)) is not A
            assert type(remote(lambda: A())) is A
        """,
        tmp_path,
    )
