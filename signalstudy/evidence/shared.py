"""What measures of several signals of a pool make alike is made once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Shared:
    """Results by the arrays they were made of, for the time one pool's signals are judged.

    Demand, replicas and cache hits are the same arrays for all signals of a pool, and most signals
    are known at the same steps.
    """

    _made: dict[tuple[object, ...], tuple[object, Any]] = field(default_factory=dict)

    def once(
        self,
        what: str,
        make: Callable[[], Made],
        *arrays: NDArray[Any],
        known: NDArray[np.bool_] | None = None,
    ) -> Made:
        """Give what `make` makes of `arrays`, where `known` (n,); made when first asked for."""
        key = (what, *map(id, arrays), None if known is None else known.tobytes())
        if key not in self._made:
            # The arrays are kept, so that no others can come to have their ids.
            self._made[key] = (arrays, make())
        made: Made = self._made[key][1]
        return made
