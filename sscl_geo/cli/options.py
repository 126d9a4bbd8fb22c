"""Options that several commands share."""

from collections.abc import Mapping
from typing import Annotated, TypeVar

import typer

from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen, parse
from sscl_geo.plugins import names, shipped_names

START, DATA, LEARN, MAP, ASSESS = "Start", "Data", "Learn", "Map", "Assess"
LOOK, PUBLISH, MAINTAIN = "Look", "Publish", "Maintain and configure"
RESEARCH = "Research on chips"
PANELS = (START, DATA, LEARN, MAP, ASSESS, LOOK, PUBLISH, MAINTAIN, RESEARCH)
"""Groups of commands, in the order in which a user needs them."""

ImageryOption = Annotated[
    list[str], typer.Option(help="Path of a cube or of a store of chips; repeat for several.")
]
PartOption = Annotated[
    str | None,
    typer.Option(
        help="Use only the chips of this part of their set, such as 0 or validation of DFC2020."
    ),
]
CubeOption = Annotated[str, typer.Option(help="Path or s3:// address of a cube.")]
BUNDLE = "a model bundle"
# Checkers of types resolve its bound where it is used, so that it cannot be imported.
FrozenT = TypeVar("FrozenT", bound=Frozen)

OPTIONS = "options"

NAMES = {
    "mask.opening_px": "--opening",
    "mask.dilation_px": "--dilation",
    "side_px": "--size",
    "block_m": "--block",
}
"""Options that are called otherwise than the fields that they become."""

OutOption = Annotated[
    str, typer.Option(help="Path of the output; running the same command again resumes.")
]
StudyOption = Annotated[
    str,
    typer.Option(
        help="Study, which holds all settings of the training: "
        f"{shipped_names('workflows/studies')}, or a YAML file."
    ),
]
SeedOption = Annotated[int | None, typer.Option(help="Random seed; default: the study's.")]
RanksOption = Annotated[
    int, typer.Option(help="Number of Ray Train workers; 0 trains in this process, without Ray.")
]
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Address of a Ray cluster; default: this Ray job's, or one started on this machine.",
    ),
]
GpuOption = Annotated[bool, typer.Option(help="Train on GPUs, one per rank.")]
RecomputeOption = Annotated[
    bool,
    typer.Option(
        help="Save memory: compute feature maps of single bands again in the backward pass."
    ),
]
CompileOption = Annotated[
    bool, typer.Option(help="Compile the network with torch.compile; needs a C++ compiler.")
]
ExecutorOption = Annotated[
    str,
    typer.Option(
        help="Executor that runs the units of work: "
        f"{', '.join(names('sscl_geo.runtime.executors'))}."
    ),
]
CompositorOption = Annotated[
    str,
    typer.Option(
        help="Method that reduces the clear days of a period to one pixel: "
        f"{', '.join(names('sscl_geo.ops.compositors'))}."
    ),
]
WorkersOption = Annotated[int, typer.Option(help="Number of worker processes of a local cluster.")]
MapOption = Annotated[str, typer.Option("--map", help="Path or s3:// address of a map.")]
StoreArgument = Annotated[
    str, typer.Argument(help="Path or s3:// address of a cube, labels, a map or a change map.")
]
DaskOption = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="tls://…",
        help="Address of a running Dask scheduler; default: workers started on this machine.",
    ),
]


def parsed(kind: type[FrozenT], fields: Mapping[str, object]) -> FrozenT:
    """Return options as a value of `kind`.

    Raises:
        InvalidInputError: One of them breaks a rule; the message names it as the user does.
    """
    try:
        return parse(kind, fields, OPTIONS)
    except InvalidInputError as error:
        told = str(error).removeprefix(f"{OPTIONS}: ")
        field, _, rule = told.partition(": ")
        top = field.partition(".")[0]
        if top in kind.model_fields:  # other checks name what they are of
            told = f"{NAMES.get(field, '--' + top.replace('_', '-'))}: {rule}"
        raise InvalidInputError(told) from None
