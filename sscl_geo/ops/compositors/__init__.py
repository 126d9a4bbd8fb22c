"""One file per reduction over time.

A compositor is a module with `composite(stack, weights)`, which gives an `observation.Composite`,
`JOINT`: whether all bands must be given at once, or may be given one by one, and `BY_QUALITY`:
whether its weights are to be those of `ops.quality` or only a mask. The stack is
canonical DN `(time, band, y, x)` of one or more times, 0 where there is no observation; the weights
`(time, y, x)` are 0 where the ground was hidden, else the observation's quality from 1 to 255. A
mask of seen ground is weights too, as `mask.view(numpy.uint8)`. Neither is changed.
"""

from types import ModuleType

from sscl_geo import plugins


def compositor_of(name: str) -> ModuleType:
    """Return a compositor by its name.

    Raises:
        InvalidInputError: There is no such compositor.
    """
    return plugins.find(__name__, name, "--compositor")
