"""How much work the CO-RE records of one object may make: hostile types could make every comparison exponential."""

from xdploaderd.errors import CoreRelocationError

MAX_UNITS = 500_000  # of about a microsecond; real objects take some tens of thousands
COMPARISON = 1
CANDIDATE = 16  # each is kept in the decision's record
MEMBERS_A_UNIT = 8


class Budget:
    """Counts down; whoever takes more than is left gets CoreRelocationError."""

    def __init__(self, units: int = MAX_UNITS) -> None:
        self._units = units
        self._left = units

    def take(self, units: int) -> None:
        """Account for work about to be done."""
        self._left -= units
        if self._left < 0:
            raise CoreRelocationError(f"comparing the types takes over {self._units} steps")

    def take_members(self, count: int) -> None:
        """Account for a look at every member of a struct or union."""
        self.take(1 + count // MEMBERS_A_UNIT)
