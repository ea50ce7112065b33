"""The bars: what each figure has to reach, beside a peer or in itself."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.records import Rounds


@dataclass(frozen=True)
class Bar:
    """One demand on one figure.

    Attributes:
        ours: Who has to reach it.
        workload: Of which workload.
        figure: Which figure.
        least: It holds from here upwards; None where `most` is given.
        most: It holds from here downwards.
        peer: Whose figure ours is divided by; None: ours as it is.
        beyond: Theirs is subtracted instead.
        their_figure: Where the peer's figure is another one.
        otherwise: Another bar that is enough.
    """

    ours: str
    workload: str
    figure: str
    least: float | None = None
    most: float | None = None
    peer: str | None = None
    beyond: bool = False
    their_figure: str | None = None
    otherwise: Bar | None = None

    def value(self, rounds: Rounds) -> float | None:
        """The figure or ratio as measured: the median over the rounds; None if it was not."""
        if self.peer is None:
            return rounds.median(self.workload, self.ours, self.figure)
        if self.beyond:
            return rounds.difference(self.workload, self.figure, self.ours, self.peer)
        return rounds.ratio(self.workload, self.figure, self.ours, self.peer, self.their_figure)

    def holds(self, rounds: Rounds) -> bool | None:
        """Whether it holds; None when it was not measured."""
        value = self.value(rounds)
        if value is None:
            return self.otherwise.holds(rounds) if self.otherwise is not None else None
        reached = value >= self.least if self.least is not None else value <= (self.most or 0.0)
        return reached or bool(self.otherwise is not None and self.otherwise.holds(rounds))

    @property
    def demand(self) -> str:
        """In words."""
        limit = f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"
        between = f"beyond {self.peer}" if self.beyond else f"× {self.peer}"
        said = f"{limit} {between}" if self.peer is not None else limit
        return f"{said}, or {self.otherwise.demand}" if self.otherwise is not None else said


BARS = (
    Bar("achilles", "W1", "tasks_per_s", least=15, peer="stdlib"),
    Bar(
        "achilles",
        "W1",
        "one_ms_efficiency",
        least=1.4,
        peer="stdlib",
        otherwise=Bar("achilles", "W1", "one_ms_efficiency", least=0.95),
    ),
    Bar("achilles", "W2", "best_tasks_per_s", least=1.5, peer="stdlib"),
    Bar("achilles", "W3", "median_us", most=1.0, peer="stdlib"),
    Bar("achilles", "W4", "echo_mb_per_s", least=1.5, peer="ray"),
    Bar("achilles", "W4", "in_mb_per_s", least=1.5, peer="ray"),
    Bar("achilles", "W5", "items_per_s", least=1.3, peer="stdlib"),
    Bar("achilles", "W6", "efficiency", least=0.97),
    Bar("achilles", "W7", "import_ms", most=60),
    Bar("achilles", "W7", "program_s", most=0.3),
    Bar("achilles", "W8", "random_efficiency", least=0.95),
    Bar("achilles", "W8", "tail_efficiency", least=0.92),
    Bar("achilles", "W9", "chunk_1_calls_per_s", least=80, peer="stdlib"),
    Bar("achilles", "W9", "default_calls_per_s", least=5, peer="stdlib"),
    Bar("cluster", "W1", "tasks_per_s", least=10, peer="stdlib"),
    Bar("cluster", "W1", "tasks_per_s", least=500, peer="dask"),
    Bar("cluster", "W1", "tasks_per_s", least=200, peer="ray"),
    Bar("cluster", "W1", "one_ms_efficiency", least=0.93),
    Bar("cluster", "W2", "default_tasks_per_s", least=1.2, peer="stdlib", their_figure="best_tasks_per_s"),
    Bar("cluster", "W3", "median_us", most=2.0, peer="stdlib"),
    Bar("cluster", "W3", "p99_us", most=1.0, peer="stdlib"),
    Bar("cluster", "W3", "cold_us", most=15_000),
    Bar("cluster", "W4", "echo_mb_per_s", least=1.5, peer="stdlib"),
    Bar("cluster", "W4", "in_mb_per_s", least=1.5, peer="stdlib"),
    Bar("cluster", "W5", "items_per_s", least=1.2, peer="stdlib"),
    Bar("cluster", "W6", "efficiency", least=0.95),
    Bar("cluster", "W7", "program_s", most=1.5),
    Bar("cluster", "W8", "random_efficiency", least=0.93),
    Bar("cluster", "W8", "tail_efficiency", least=0.90),
    Bar("cluster", "W9", "chunk_1_calls_per_s", least=60, peer="stdlib"),
    Bar("cluster", "W9", "default_calls_per_s", least=4, peer="stdlib"),
    Bar("tls", "W10", "far_share", least=0.5),
    Bar("achilles", "S1", "packets_per_s", least=100_000),
    Bar("achilles", "S1", "cost_ratio", most=2),
    Bar("cluster", "S2", "idle_kib", most=40),
    Bar("tls", "S2", "idle_kib", most=40),
    Bar("achilles", "S3", "worker_pss_mib", most=15, peer="stdlib", beyond=True),
    Bar("cluster", "S3", "worker_pss_mib", most=15, peer="stdlib", beyond=True),
)


def needed() -> frozenset[tuple[str, str]]:
    """What has to be measured to decide the bars, (workload, peer); the standard library beside it all."""
    return frozenset((bar.workload, who) for bar in BARS for who in (bar.ours, bar.peer or "stdlib"))
