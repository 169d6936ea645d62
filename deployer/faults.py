"""Every "no" of the deployer that a caller hears, with its HTTP status. A fault means: nothing was changed."""


class Fault(Exception):
    """One line for people. `nearest`: what the caller may have meant."""

    status = 500

    def __init__(self, message: str, nearest: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.nearest = nearest


class BadRequest(Fault):
    """The request cannot be read at all."""

    status = 400


class NotFound(Fault):
    """No such rule set, version, rollout or path."""

    status = 404


class Refused(Fault):
    """Readable and known, but not allowed in the present state."""

    status = 409


class Invalid(Fault):
    """Readable, but wrong: a fault in a rule set, a value out of bounds, a gate's no."""

    status = 422
