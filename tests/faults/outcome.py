"""What a block of faults has found."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """One line of the table, and what went wrong."""

    title: str
    promise: str  # what each trial must end in
    tried: int = 0
    failures: list[str] = field(default_factory=list)  # one line each
    notes: list[str] = field(default_factory=list)  # numbers worth knowing

    def expect(self, kept: bool, what: str) -> None:
        """Count a trial; ``what`` says which one and what happened, if its promise was broken."""
        self.tried += 1
        if not kept:
            self.failures.append(what)

    @property
    def kept(self) -> int:
        """How many trials ended as promised."""
        return self.tried - len(self.failures)


def part(full: int, share: float) -> int:
    """``share`` of ``full`` trials, at least one."""
    return max(1, round(full * share))
