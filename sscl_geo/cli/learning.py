"""Learning: pretraining, finetuning, calibration, ensembles and experiments."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sscl_geo.cli.options import (
    BUNDLE,
    LEARN,
    RESEARCH,
    CompileOption,
    ExecutorOption,
    GpuOption,
    ImageryOption,
    OutOption,
    PartOption,
    RanksOption,
    RayOption,
    RecomputeOption,
    SeedOption,
    StudyOption,
    WorkersOption,
    parsed,
)
from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import read_yaml
from sscl_geo.io.location import local_path, location
from sscl_geo.plugins import shipped_file, shipped_names
from sscl_geo.runtime.work import Machines

if TYPE_CHECKING:
    from sscl_geo.learn.study import Study

app = typer.Typer()

RAY = "ray_tasks"


def _study(name: str, seed: int | None) -> "Study":
    from sscl_geo.learn.study import Study

    numbers = read_yaml(Study, shipped_file("workflows/studies", name, "--study"))
    return numbers if seed is None else parsed(Study, {**dict(numbers), "seed": seed})


@app.command(rich_help_panel=LEARN)
def pretrain(
    cube: ImageryOption,
    out: OutOption,
    study: StudyOption,
    part: PartOption = None,
    seed: SeedOption = None,
    ranks: RanksOption = 0,
    ray: RayOption = None,
    gpu: GpuOption = False,
    recompute: RecomputeOption = False,
    compile: CompileOption = False,  # noqa: A002
) -> None:
    """Train an encoder on unlabelled cubes or chips: UniFeat, then CoRe."""
    from sscl_geo.io.fields import selected
    from sscl_geo.runtime.gang import BOARD, LINES, Ranks
    from sscl_geo.runtime.progress import followed
    from sscl_geo.stages.pretrain import PretrainRequest
    from sscl_geo.stages.pretrain import pretrain as run

    numbers = _study(study, seed)
    machines = {"ranks": ranks, "address": ray, "gpus": gpu}
    where = parsed(Ranks, {**machines, "recomputes": recompute, "compiles": compile})
    request = PretrainRequest(imagery=tuple(selected(path, part) for path in cube), study=numbers)
    folder = local_path(out, BUNDLE)
    with followed(folder / BOARD / LINES):
        bundle = run(request, folder, where)
    print(f"{out}: encoder of {len(bundle.network['bands'])} bands, {len(bundle.history)} epochs")  # type: ignore[arg-type]


@app.command(rich_help_panel=LEARN)
def finetune(
    cube: ImageryOption,
    out: OutOption,
    study: StudyOption,
    labels: Annotated[
        list[str] | None,
        typer.Option(help="Labels of each cube, in the order of --cube; chips bring their own."),
    ] = None,
    part: PartOption = None,
    unlabelled: Annotated[
        list[str] | None,
        typer.Option(
            help="Unlabelled cubes or chips, for a study with a mean teacher "
            "(finetune.settings.teacher.weight and average above 0)."
        ),
    ] = None,
    unlabelled_part: Annotated[
        str | None, typer.Option(help="Use only the chips of this part for --unlabelled.")
    ] = None,
    validation: Annotated[
        list[str] | None,
        typer.Option(
            help="Cubes or chips whose labels choose the epoch that is kept; default: the last one."
        ),
    ] = None,
    validation_labels: Annotated[
        list[str] | None,
        typer.Option(help="Labels of each validation cube, in the order of --validation."),
    ] = None,
    validation_part: Annotated[
        str | None, typer.Option(help="Use only the chips of this part for --validation.")
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="Bundle of a pretrained encoder; default: the study's initial weights."),
    ] = None,
    seed: SeedOption = None,
    ranks: RanksOption = 0,
    ray: RayOption = None,
    gpu: GpuOption = False,
    recompute: RecomputeOption = False,
    compile: CompileOption = False,  # noqa: A002
) -> None:
    """Train a model on few labels."""
    from sscl_geo.io.fields import selected
    from sscl_geo.runtime.gang import BOARD, LINES, Ranks
    from sscl_geo.runtime.progress import followed
    from sscl_geo.stages.finetune import FinetuneRequest
    from sscl_geo.stages.finetune import finetune as run

    if validation_part is not None and not validation:
        raise InvalidInputError("--validation-part: names a part of --validation; give that too")
    if unlabelled_part is not None and not unlabelled:
        raise InvalidInputError("--unlabelled-part: names a part of --unlabelled; give that too")
    request = FinetuneRequest(
        imagery=tuple(selected(path, part) for path in cube),
        labels=tuple(location(path) for path in labels or ()),
        unlabelled=tuple(
            selected(path, unlabelled_part, "--unlabelled-part") for path in unlabelled or ()
        ),
        validation=tuple(
            selected(path, validation_part, "--validation-part") for path in validation or ()
        ),
        validation_labels=tuple(location(path) for path in validation_labels or ()),
        encoder=None if encoder is None else local_path(encoder, BUNDLE),
        study=_study(study, seed),
    )
    machines = {"ranks": ranks, "address": ray, "gpus": gpu}
    where = parsed(Ranks, {**machines, "recomputes": recompute, "compiles": compile})
    folder = local_path(out, BUNDLE)
    with followed(folder / BOARD / LINES):
        bundle = run(request, folder, where)
    print(f"{out}: model of {len(bundle.legend.classes) if bundle.legend else 0} classes")


@app.command(rich_help_panel=LEARN)
def calibrate(
    model: Annotated[str, typer.Option(help="Bundle of a finetuned model.")],
    cube: Annotated[str, typer.Option(help="Path of a cube or of a store of chips.")],
    out: Annotated[str, typer.Option(help="Folder of the new bundle.")],
    labels: Annotated[
        str | None,
        typer.Option(
            help="Labels of the cube that the model did not learn from; chips bring their own."
        ),
    ] = None,
    part: PartOption = None,
) -> None:
    """Calibrate a model's confidence: fit a temperature on labels that it has not seen."""
    from sscl_geo.io.fields import selected
    from sscl_geo.stages.calibrate import calibrate as run

    reference = None if labels is None else location(labels)
    bundle = run(
        local_path(model, BUNDLE), selected(cube, part), reference, local_path(out, BUNDLE)
    )
    print(f"{out}: temperature {bundle.temperature:.3f}")


@app.command(rich_help_panel=LEARN)
def ensemble(
    model: Annotated[
        list[str], typer.Option(help="Bundle of a finetuned model; repeat for each member.")
    ],
    out: Annotated[str, typer.Option(help="Folder of the new bundle.")],
) -> None:
    """Join models that differ in their seeds into one, which errs less and is less confident."""
    from sscl_geo.stages.ensemble import ensemble as run

    bundle = run([local_path(path, BUNDLE) for path in model], local_path(out, BUNDLE))
    print(f"{out}: ensemble of {bundle.members} models")


@app.command(rich_help_panel=RESEARCH)
def experiment(
    experiment: Annotated[
        str,
        typer.Argument(
            help=f"Experiment: {shipped_names('workflows/experiments')}, or a YAML file."
        ),
    ],
    chips: Annotated[str, typer.Option(help="Path of a store of labelled chips.")],
    out: OutOption,
    judged: Annotated[
        Literal["test", "validation"],
        typer.Option(
            help="Chips to score on: validation while you choose settings, test in the end."
        ),
    ] = "test",
    system: Annotated[
        list[str] | None,
        typer.Option(help="Run only the cells of this system; repeat for several."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Run only this many seeds, the first ones.")
    ] = None,
    executor: ExecutorOption = RAY,
    workers: WorkersOption = 2,
    ray: RayOption = None,
    gpu: Annotated[
        bool,
        typer.Option(help="Give each cell that runs a GPU, which --executor ray_tasks hands out."),
    ] = False,
) -> None:
    """Run a matrix of systems, labels and seeds, cell by cell, and write its tables."""
    from sscl_geo.experiment.matrix import Experiment
    from sscl_geo.experiment.run import TABLES, run_experiment

    whole = read_yaml(Experiment, shipped_file("workflows/experiments", experiment, "EXPERIMENT"))
    matrix = whole.part(system or (), seeds)
    if ray is not None and executor != RAY:
        raise InvalidInputError(f"--ray {ray}: is of --executor {RAY}, not {executor}")
    machines = parsed(
        Machines, {"executor": executor, "workers": workers, "address": ray, "gpus": gpu}
    )
    folder = local_path(out, "an experiment")
    summary = run_experiment(matrix, location(chips), folder, machines, judged, whole)
    print(f"{folder / TABLES}: {summary.done} cells ({summary.now} now)")
