"""What a server may refuse; apart from transfer.py, whose HTTP library is slow to import."""

from __future__ import annotations

from signalstudy.vocabulary.errors import SignalStudyError


class ServerError(SignalStudyError):
    """What a server answered, or did not. `status`: HTTP's, 0 where there was no answer."""

    def __init__(self, said: str, *, status: int = 0, is_passing: bool = False) -> None:
        super().__init__(said)
        self.status = status
        self.is_passing = is_passing


class RouteError(SignalStudyError):
    """The server does not speak this route; another may do."""
