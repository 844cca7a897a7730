"""What a schedule can end with."""


class Crash(BaseException):
    """The function's process dies here: no `except Exception` may outlive it."""


class InvariantBroken(AssertionError):
    """The product did what it promises never to do, or not what it promises."""


class SimulatorError(Exception):
    """The simulator itself is at fault: nothing is said of the product."""
