"""`sscl-geo`: one command a step; each parses, calls one function, and prints one line."""

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from sscl_geo.errors import InvalidInputError, reported
from sscl_geo.frozen import Frozen, parse, read_yaml
from sscl_geo.geo.bbox import checked_bbox
from sscl_geo.geo.legend import Legend
from sscl_geo.io.gdal import set_environment
from sscl_geo.io.location import Location, local_path, location
from sscl_geo.plugins import shipped_file
from sscl_geo.runtime.work import Machines, machines_of

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Land-cover maps from Sentinel-1/2, few labels.",
)

ImageryOption = Annotated[
    list[str], typer.Option(help="Path of a cube, or of chips; repeat for several.")
]
PartOption = Annotated[
    str | None, typer.Option(help="Take only chips of this part of their set, such as train.")
]
CubeOption = Annotated[str, typer.Option(help="Path or s3:// address of a cube.")]
BUNDLE = "a model bundle"
CHIPSETS = "sscl_geo.io.chipsets"
CUBE = "cube"
catalog_app = typer.Typer(no_args_is_help=True, help="Look at what catalogues offer.")
app.add_typer(catalog_app, name="catalog")

assess_app = typer.Typer(no_args_is_help=True, help="Assess a map by a sample of its pixels.")
app.add_typer(assess_app, name="assess")

LAYER = "stac:"
"""What marks a label source as a layer of a catalogue."""

OutOption = Annotated[str, typer.Option(help="Path of what is made; the same command resumes.")]
StudyOption = Annotated[
    str, typer.Option(help="Study (name or YAML): every number of the training.")
]
RanksOption = Annotated[
    int, typer.Option(help="Ray Train workers; 0 trains in this process, without Ray.")
]
RayOption = Annotated[
    str | None,
    typer.Option("--ray", metavar="ADDRESS", help="Ray cluster; default: here, or this Ray job's."),
]
GpuOption = Annotated[bool, typer.Option(help="One GPU per rank.")]
RecomputeOption = Annotated[
    bool, typer.Option(help="Compute maps of single bands twice, for less memory.")
]
CompileOption = Annotated[
    bool, typer.Option(help="Compile the network with torch; needs a C++ compiler.")
]
ExecutorOption = Annotated[str, typer.Option(help="serial or dask.")]
WorkersOption = Annotated[int, typer.Option(help="Processes of a local Dask cluster.")]
MapOption = Annotated[str, typer.Option("--map", help="Path of a map.")]
StoreArgument = Annotated[str, typer.Argument(help="Path of a cube or map.")]
DaskOption = Annotated[
    str | None,
    typer.Option("--dask", metavar="tcp://…", help="Address of a running Dask scheduler."),
]


@app.command()
def labels(
    cube: CubeOption,
    source: Annotated[
        str,
        typer.Option(help="GeoTIFF of classes, polygons (GeoPackage, …), or stac:LAYER."),
    ],
    legend: Annotated[str, typer.Option(help="Legend: name or YAML.")],
    out: OutOption,
    column: Annotated[str, typer.Option(help="Column of polygons' class numbers.")] = "class",
    bbox: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(metavar="W S E N", help="Take labels only inside this box."),
    ] = None,
    catalog: Annotated[
        str | None, typer.Option(help="Catalogue of stac:LAYER; default: the cube's.")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="Profile for a URL or catalog.json.")] = None,
    datetime: Annotated[
        str | None, typer.Option(metavar="A/B", help="Days of stac:LAYER; default: the nearest.")
    ] = None,
) -> None:
    """Put reference labels on a cube's pixels."""
    from sscl_geo.io.profile import source as catalog_source
    from sscl_geo.stages.labels import LabelsRequest, LayerSource, make_labels

    layer = LayerSource(
        layer=source.removeprefix(LAYER),
        catalog=catalog_source(catalog, profile) if catalog else None,
        datetime=datetime,
    )

    request = LabelsRequest(
        cube=location(cube),
        source=layer if source.startswith(LAYER) else Path(source),
        legend=_legend(legend),
        column=column,
        bbox=None if bbox is None else checked_bbox(*bbox),
    )
    share = make_labels(request, location(out))
    print(f"{out}: {100 * share:.2f} % of the pixels are labelled")


@app.command()
def composite(
    cube: CubeOption,
    out: OutOption,
    period: Annotated[str, typer.Option(help="Length of a composite: PnD, PnM or PnY.")] = "P3M",
    compositor: Annotated[
        str, typer.Option(help="median, geomedian, best_pixel or mean of the clear days.")
    ] = "median",
    opening: Annotated[int | None, typer.Option(help="As of sscl_geo.ingest.")] = None,
    dilation: Annotated[int | None, typer.Option(help="As of sscl_geo.ingest.")] = None,
    executor: ExecutorOption = "dask",
    workers: WorkersOption = 2,
    dask: DaskOption = None,
) -> None:
    """Make composites of a cube that was ingested with --period day, without a download."""
    from sscl_geo.stages.ingest import CompositeRequest, Method
    from sscl_geo.stages.ingest import composite_days as run

    given = {"opening_px": opening, "dilation_px": dilation}
    mask = {name: value for name, value in given.items() if value is not None}
    method = parse(Method, {"compositor": compositor, "mask": mask}, "options")
    request = CompositeRequest(cube=location(cube), period=period, method=method)
    summary = run(request, location(out), machines_of(executor, workers, dask))
    print(f"{out}: {summary.done} units done ({summary.now} now), {summary.empty} without a day")


@app.command()
def pretrain(
    cube: ImageryOption,
    out: OutOption,
    part: PartOption = None,
    study: StudyOption = "letter",
    ranks: RanksOption = 0,
    ray: RayOption = None,
    gpu: GpuOption = False,
    recompute: RecomputeOption = False,
    compile: CompileOption = False,  # noqa: A002
) -> None:
    """Train an encoder on unlabelled cubes or chips: UniFeat, then CoRe."""
    from sscl_geo.io.fields import selected
    from sscl_geo.learn.study import Study
    from sscl_geo.runtime.gang import Ranks
    from sscl_geo.stages.pretrain import PretrainRequest
    from sscl_geo.stages.pretrain import pretrain as run

    numbers = read_yaml(Study, shipped_file("workflows/studies", study, "--study"))
    machines = {"ranks": ranks, "address": ray, "gpus": gpu}
    where = parse(Ranks, {**machines, "recomputes": recompute, "compiles": compile}, "options")
    request = PretrainRequest(imagery=tuple(selected(path, part) for path in cube), study=numbers)
    bundle = run(request, local_path(out, BUNDLE), where)
    print(f"{out}: encoder of {len(bundle.network['bands'])} bands, {len(bundle.history)} epochs")  # type: ignore[arg-type]


@app.command()
def finetune(
    cube: ImageryOption,
    out: OutOption,
    labels: Annotated[
        list[str] | None,
        typer.Option(help="Labels of each cube, in the same order; chips bring their own."),
    ] = None,
    part: PartOption = None,
    unlabelled: Annotated[
        list[str] | None, typer.Option(help="Cubes or chips for the study's teacher.")
    ] = None,
    validation: Annotated[
        list[str] | None,
        typer.Option(
            help="Cubes or chips whose labels choose the best epoch; none keeps the last."
        ),
    ] = None,
    validation_labels: Annotated[
        list[str] | None, typer.Option(help="Labels of each validation cube, in the same order.")
    ] = None,
    validation_part: Annotated[
        str | None, typer.Option(help="Take only chips of this part for the validation.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Encoder; none starts from random weights.")
    ] = None,
    study: StudyOption = "letter",
    ranks: RanksOption = 0,
    ray: RayOption = None,
    gpu: GpuOption = False,
    recompute: RecomputeOption = False,
    compile: CompileOption = False,  # noqa: A002
) -> None:
    """Train a model on few labels."""
    from sscl_geo.io.fields import selected
    from sscl_geo.learn.study import Study
    from sscl_geo.runtime.gang import Ranks
    from sscl_geo.stages.finetune import FinetuneRequest
    from sscl_geo.stages.finetune import finetune as run

    if validation_part is not None and not validation:
        raise InvalidInputError("--validation-part: names a part of --validation; give that too")
    request = FinetuneRequest(
        imagery=tuple(selected(path, part) for path in cube),
        labels=tuple(location(path) for path in labels or ()),
        unlabelled=tuple(selected(path) for path in unlabelled or ()),
        validation=tuple(
            selected(path, validation_part, "--validation-part") for path in validation or ()
        ),
        validation_labels=tuple(location(path) for path in validation_labels or ()),
        encoder=None if encoder is None else local_path(encoder, BUNDLE),
        study=read_yaml(Study, shipped_file("workflows/studies", study, "--study")),
    )
    machines = {"ranks": ranks, "address": ray, "gpus": gpu}
    where = parse(Ranks, {**machines, "recomputes": recompute, "compiles": compile}, "options")
    bundle = run(request, local_path(out, BUNDLE), where)
    print(f"{out}: model of {len(bundle.legend.classes) if bundle.legend else 0} classes")


@app.command()
def calibrate(
    model: Annotated[str, typer.Option(help="Bundle of a finetuned model.")],
    cube: Annotated[str, typer.Option(help="Path of a cube, or of chips.")],
    out: Annotated[str, typer.Option(help="Folder of the new bundle.")],
    labels: Annotated[
        str | None, typer.Option(help="Labels that the model did not learn from.")
    ] = None,
    part: PartOption = None,
) -> None:
    """Make a model as sure as it is right: fit a temperature on labels that it has not seen."""
    from sscl_geo.io.fields import selected
    from sscl_geo.stages.calibrate import calibrate as run

    reference = None if labels is None else location(labels)
    bundle = run(
        local_path(model, BUNDLE), selected(cube, part), reference, local_path(out, BUNDLE)
    )
    print(f"{out}: temperature {bundle.temperature:.3f}")


@app.command()
def chips(
    source: Annotated[str, typer.Option(help="File or folder of a set of chips, or a cube.")],
    kind: Annotated[str, typer.Option(help="How it lies there: a name of io/chipsets, or cube.")],
    out: OutOption,
    legend: Annotated[str | None, typer.Option(help="Legend of its labels: name or YAML.")] = None,
    labels: Annotated[str | None, typer.Option(help="Of a cube: labels on its pixels.")] = None,
    size: Annotated[
        int | None, typer.Option(help="Of a cube: side of a chip in 10 m pixels. Default: 64")
    ] = None,
    block: Annotated[
        int | None,
        typer.Option(help="Of a cube: side in metres of blocks that splits keep. Default: 1280"),
    ] = None,
) -> None:
    """Make a store of chips, which pretrain, finetune and experiment take, of a set or a cube."""
    from sscl_geo import plugins
    from sscl_geo.io.chips import write_chips
    from sscl_geo.stages.cut import CutSpec, cut_chips

    given = {"side_px": size, "block_m": block}
    cut = {name: value for name, value in given.items() if value is not None}
    if kind == CUBE and legend is not None:
        raise InvalidInputError("--legend: labels of a cube have their own; leave it out")
    if kind != CUBE and (cut or labels is not None):
        raise InvalidInputError("--labels, --size and --block are of --kind cube; leave them out")
    if kind == CUBE:
        reference = None if labels is None else location(labels)
        spec = parse(CutSpec, cut, "options")
        made = cut_chips(location(source), reference, spec, location(out))
    else:
        named = None if legend is None else _legend(legend)
        files = local_path(source, "a set of chips")
        made = write_chips(plugins.find(CHIPSETS, kind).chip_source(files, named), location(out))
    print(f"{out}: {made.spec.count} chips of {made.spec.side} px, {len(made.spec.bands)} bands")


@app.command()
def despeckle(
    chips: Annotated[str, typer.Option(help="A store of chips with radar bands.")],
    out: OutOption,
    filter: Annotated[str, typer.Option("--filter", help="lognlm, lee or sarbm3d.")] = "lognlm",  # noqa: A002
    looks: Annotated[float, typer.Option(help="Equivalent number of looks.")] = 4.4,
) -> None:
    """Make chips whose radar has less speckle."""
    from sscl_geo.stages.despeckle import despeckle_chips

    made = despeckle_chips(location(chips), location(out), filter, looks)
    print(f"{out}: {made.spec.count} chips, radar filtered by {filter}")


@app.command()
def experiment(
    experiment: Annotated[str, typer.Argument(help="Experiment (name or YAML).")],
    chips: Annotated[str, typer.Option(help="A store of labelled chips.")],
    out: OutOption,
    judged: Annotated[
        Literal["test", "validation"], typer.Option(help="Choices are made on validation.")
    ] = "test",
    system: Annotated[
        list[str] | None, typer.Option(help="Only this system's cells; repeat for several.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Only the first seeds.")] = None,
    executor: Annotated[str, typer.Option(help="serial, dask or ray_tasks.")] = "ray_tasks",
    workers: Annotated[int, typer.Option(help="Processes of a local cluster.")] = 2,
    ray: RayOption = None,
) -> None:
    """Run a matrix of systems, labels and seeds, cell by cell, and write its tables."""
    from sscl_geo.experiment.run import TABLES, run_experiment
    from sscl_geo.experiment.spec import Experiment

    whole = read_yaml(Experiment, shipped_file("workflows/experiments", experiment, "EXPERIMENT"))
    matrix = whole.part(system or (), seeds)
    machines = parse(
        Machines, {"executor": executor, "workers": workers, "address": ray}, "options"
    )
    folder = local_path(out, "an experiment")
    summary = run_experiment(matrix, location(chips), folder, machines, judged)
    print(f"{folder / TABLES}: {summary.done} cells ({summary.now} now)")


@app.command(name="map")
def make_map(
    cube: CubeOption,
    model: Annotated[str, typer.Option(help="Bundle of a finetuned model.")],
    out: OutOption,
    tile_px: Annotated[
        int | None, typer.Option(help="Side of a tile at 10 m; default: the cube's.")
    ] = None,
    flips: Annotated[
        bool, typer.Option(help="Mean over each window and its mirror images; four times slower.")
    ] = False,
    probabilities: Annotated[
        bool, typer.Option(help="Keep the probability of every class.")
    ] = False,
    gpu: Annotated[bool, typer.Option(help="Each worker has a GPU.")] = False,
    executor: ExecutorOption = "dask",
    workers: WorkersOption = 2,
    dask: DaskOption = None,
) -> None:
    """Map a cube wall to wall."""
    from sscl_geo.stages.map import Inference
    from sscl_geo.stages.map import make_map as run

    summary = run(
        location(cube),
        local_path(model, BUNDLE),
        location(out),
        machines_of(executor, workers, dask),
        tile_px,
        Inference(has_flips=flips, has_gpu=gpu, has_probabilities=probabilities),
    )
    print(f"{out}: {summary.done} tiles mapped ({summary.now} now), {summary.empty} without data")


@app.command()
def publish(
    map: Annotated[str, typer.Option("--map", help="Path of a map.")],  # noqa: A002
    out: Annotated[str, typer.Option(help="Folder of the product; the same command resumes.")],
    model: Annotated[
        str | None, typer.Option(help="Bundle of the map's model, to publish it too.")
    ] = None,
    crs: Annotated[
        str | None,
        typer.Option(help="One CRS in metres for all zones; default: the map's own pixels."),
    ] = None,
    file_px: Annotated[int, typer.Option(help="Most pixels along a side of a file.")] = 8192,
    id: Annotated[str, typer.Option("--id", help="Id of the STAC collection.")] = "landcover",  # noqa: A002
    title: Annotated[str, typer.Option(help="Its title.")] = "Land cover",
    license: Annotated[  # noqa: A002
        str, typer.Option("--license", help="SPDX identifier, or other.")
    ] = "other",
    executor: ExecutorOption = "dask",
    workers: WorkersOption = 2,
    dask: DaskOption = None,
) -> None:
    """Write a map as COGs, mosaics, styles and a STAC catalogue."""
    from sscl_geo.stages.publish import PublishRequest
    from sscl_geo.stages.publish import publish as run

    fields = {
        "map": location(map), "model": None if model is None else local_path(model, BUNDLE),
        "crs": crs, "file_px": file_px,
        "id": id, "title": title, "license": license,
    }  # fmt: skip
    request = parse(PublishRequest, fields, "options")
    machines = machines_of(executor, workers, dask)
    summary = run(request, local_path(out, "a product"), machines)
    print(f"{out}: {summary.done} places published ({summary.now} now), {summary.empty} empty")


@app.command()
def baseline(
    cube: CubeOption,
    labels: Annotated[str, typer.Option(help="Labels on the cube's pixels.")],
    out: OutOption,
    seed: Annotated[int, typer.Option(help="Seed of the forest.")] = 0,
) -> None:
    """Map a cube with a random forest on single pixels, to compare with."""
    from sscl_geo.stages.baseline import make_baseline

    make_baseline(location(cube), location(labels), location(out), seed)
    print(f"{out}: mapped by a random forest on pixels")


@app.command()
def evaluate(
    map: Annotated[str, typer.Option("--map", help="Path of a map.")],  # noqa: A002
    labels: Annotated[str, typer.Option(help="Reference labels on the map's pixels.")],
    out: Annotated[str | None, typer.Option(help="JSON file for all scores.")] = None,
) -> None:
    """Compare a map with reference labels: OA, AA, mIoU, per class, confusion matrix."""
    from sscl_geo.stages.evaluate import evaluate as run

    scores = None if out is None else local_path(out, "the file of scores")
    found = run(location(map), location(labels), scores)
    print(
        f"OA {found.oa:.4f}  AA {found.aa:.4f}  mIoU {found.miou:.4f}  over {found.pixels} pixels"
    )


@app.command()
def report(
    cube: CubeOption,
    out: Annotated[str, typer.Option(help="Folder for report.html and report.json.")],
    map: Annotated[  # noqa: A002
        list[str] | None, typer.Option("--map", help="NAME=PATH of a map; the first is ours.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Reference labels to score maps against.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Bundle of the first map's model.")] = None,
    labels: Annotated[
        str | None, typer.Option(help="Labels that the model was trained on.")
    ] = None,
    assessment: Annotated[
        str | None, typer.Option(help="What assess report found of the first map.")
    ] = None,
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "Land cover",
) -> None:
    """Write one self-contained page: a cube's inputs; with maps, truth, scores and areas too."""
    from sscl_geo.stages.report import ReportRequest, make_report

    request = ReportRequest(
        title=title,
        cube=location(cube),
        maps=tuple(_named(text) for text in map or ()),
        reference=None if reference is None else location(reference),
        labels=None if labels is None else location(labels),
        model=None if model is None else local_path(model, BUNDLE),
        assessment=None if assessment is None else local_path(assessment, "an assessment"),
    )
    print(f"report: {make_report(request, local_path(out, 'a report')).resolve()}")


@app.command()
def areas(
    map: MapOption,  # noqa: A002
    out: Annotated[str, typer.Option(help="Table of hectares: .csv or .parquet.")],
    zones: Annotated[
        str | None, typer.Option(help="Polygons to measure in, any CRS (GeoPackage, …).")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Column of the zones' names.")] = None,
) -> None:
    """Count a map's hectares, by class and zone; counts are biased, see assess."""
    from sscl_geo.stages.areas import AreasRequest, measure_areas

    polygons = None if zones is None else local_path(zones, "a file of zones")
    request = AreasRequest(map=location(map), zones=polygons, column=column)
    hectares = measure_areas(request, local_path(out, "a table"))
    print(f"{out}: {hectares:,.1f} ha mapped, by counting pixels")


@assess_app.command()
def sample(
    map: MapOption,  # noqa: A002
    out: Annotated[str, typer.Option(help="GeoPackage of points, never replaced.")],
    per_class: Annotated[
        int | None, typer.Option(help="Points of each class. Default: 75", min=2)
    ] = None,
    total: Annotated[
        int | None, typer.Option(help="Instead: points of all classes, by area.", min=2)
    ] = None,
    fewest: Annotated[
        int | None, typer.Option("--min", help="With --total: least of a class. Default: 50", min=2)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw.", min=0)] = 0,
) -> None:
    """Draw a stratified random sample of a map, for interpreters who must not see its classes."""
    from sscl_geo.stages.sample import SampleRequest, draw_sample, sample_size

    size = sample_size(per_class, total, fewest)
    request = SampleRequest(map=location(map), size=size, seed=seed)
    design = draw_sample(request, local_path(out, "a sample"))
    drawn = sum(stratum.points for stratum in design.strata)
    print(f"{out}: {drawn} points to interpret; fill in the column reference")


@assess_app.command(name="report")
def assess_report(
    map: MapOption,  # noqa: A002
    reference: Annotated[str, typer.Option(help="The sample, interpreted.")],
    out: Annotated[str, typer.Option(help="JSON file of accuracies and areas.")],
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Leave points without a reference out.")
    ] = False,
) -> None:
    """Estimate accuracy and true areas from an interpreted sample (Olofsson et al. 2014)."""
    from sscl_geo.ops.areas import Z95
    from sscl_geo.stages.assess import assess

    points = local_path(reference, "a sample")
    found = assess(location(map), points, local_path(out, "an assessment"), may_miss=allow_missing)
    interval = Z95 * found.overall_error
    print(f"{out}: OA {found.overall:.4f} ± {interval:.4f} (95 %) by {found.points} points")


@app.command()
def change(
    before: Annotated[str, typer.Option(help="Path of the earlier map.")],
    after: Annotated[str, typer.Option(help="Path of the later map, by the same model.")],
    out: OutOption,
    executor: ExecutorOption = "dask",
    workers: WorkersOption = 2,
    dask: DaskOption = None,
) -> None:
    """Tell what changed between two maps of one model, how surely, and how many hectares."""
    from sscl_geo.stages.change import make_change

    machines = machines_of(executor, workers, dask)
    summary = make_change(location(before), location(after), location(out), machines)
    print(f"{out}: {summary.done} tiles compared ({summary.now} now), {summary.empty} without data")


@app.command()
def vectorize(
    map: MapOption,  # noqa: A002
    out: Annotated[str, typer.Option(help="Polygons: .parquet (GeoParquet) or .gpkg.")],
    min_area: Annotated[
        float, typer.Option(help="Minimum mapping unit in hectares; smaller pieces are merged.")
    ] = 0.5,
) -> None:
    """Write a map's classes as polygons, whole across tiles."""
    from sscl_geo.stages.vectorize import vectorize as run

    count = run(location(map), local_path(out, "a vector file"), min_area)
    print(f"{out}: {count:,} polygons")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def plan(context: typer.Context) -> None:
    """Tell what an ingest would read, write, take and cost; options as of sscl_geo.ingest."""
    from sscl_geo.ingest import app as ingest_app

    ingest_app(["--plan", *context.args])


@app.command()
def status(store: StoreArgument) -> None:
    """Tell how far a cube or map is, and why units failed."""
    from sscl_geo.stages.upkeep import status as run

    found = run(location(store))
    counted = ", ".join(f"{count} {name}" for name, count in found.counts.items())
    print(f"{store}: {found.kind}, {counted}; {found.seconds / 3600:.2f} hours of work")
    for cause, count in found.causes:
        print(f"  {count} x {cause}")
    if found.counts["failed"]:
        raise SystemExit(1)


@app.command()
def verify(store: StoreArgument) -> None:
    """Read a cube or map again and compare it with what was written."""
    from sscl_geo.stages.upkeep import verify as run

    print(f"{store}: {run(location(store))} arrays of tiles are whole")


@app.command()
def repair(
    store: StoreArgument,
    executor: ExecutorOption = "dask",
    workers: WorkersOption = 2,
    dask: DaskOption = None,
) -> None:
    """Do the failed and missing units of a cube, map or change again, and only these."""
    from sscl_geo.io.plan import read_plan
    from sscl_geo.stages.change import resume as resume_change
    from sscl_geo.stages.ingest import resume as resume_ingest
    from sscl_geo.stages.map import resume as resume_map

    path, machines = location(store), machines_of(executor, workers, dask)
    plan = read_plan(path)
    known = {"cube": resume_ingest, "map": resume_map, "change": resume_change}
    resume = known.get(plan.kind if plan else "")
    if resume is None:
        raise InvalidInputError(f"{store}: is no cube or map, nor a change; give the path of one")
    summary = resume(path, machines)
    print(f"{store}: {summary.now} units done now, {summary.done} in all, {summary.empty} empty")


@app.command()
def serve(
    catalog: Annotated[Path, typer.Argument(help="catalog.json of a static STAC catalogue.")],
    port: Annotated[int, typer.Option(help="Port of the API; files get the next one.")] = 7822,
) -> None:
    """Serve a static catalogue as a STAC API and range-capable files, on loopback."""
    import signal
    import sys
    import time

    from sscl_geo.demo.serve import served

    # So that its servers end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with served(catalog, port) as urls:
        print(f"STAC API {urls.api}  files {urls.files}  (Ctrl-C ends)", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            print("ended")


@app.command()
def view(
    map: Annotated[str, typer.Argument(help="Path of a map.")],  # noqa: A002
    other: Annotated[
        str | None, typer.Option("--map", help="A second map, to compare it with.")
    ] = None,
    cube: Annotated[
        str | None, typer.Option(help="Imagery to show beneath; default: the map's own cube.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port of the page; 0 takes a free one.")] = 7830,
    attribution: Annotated[
        str | None, typer.Option(help="Line of credit; default: by the map's metadata.")
    ] = None,
) -> None:
    """Look at a map in the browser of this machine: classes, confidence, areas, two compared."""
    from sscl_geo.stages.view import ViewRequest
    from sscl_geo.stages.view import view as run

    request = ViewRequest(
        map=location(map),
        other=None if other is None else location(other),
        cube=None if cube is None else location(cube),
        attribution=attribution,
    )
    # The server takes Ctrl-C as its end, and may or may not pass it on.
    with suppress(KeyboardInterrupt):
        run(request, port, partial(print, flush=True))
    print("ended")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder of everything that is made.")] = Path(
        "demo-out"
    ),
    size_px: Annotated[int, typer.Option(help="Side of the simulated land at 10 m.")] = 768,
    seed: Annotated[int, typer.Option(help="Seed of the land and of the training.")] = 1,
    ranks: RanksOption = 2,
) -> None:
    """Make a world, ingest it, learn, map it, and report: everything on this machine."""
    from sscl_geo.demo.run import run_demo
    from sscl_geo.runtime.gang import Ranks

    where = parse(Ranks, {"ranks": ranks}, "options")
    page = run_demo(out, size_px=size_px, seed=seed, ranks=where)
    print(f"report: {page.resolve()}")


@catalog_app.command()
def check(
    items: Annotated[Path, typer.Argument(help="STAC items: FeatureCollection, list or one item.")],
    profile: Annotated[str, typer.Option(help="Profile (name or YAML).")] = "generic",
) -> None:
    """Tell for each item, as a line of JSON, whether it would be used or why not."""
    import json

    from sscl_geo.io.verdicts import check_file

    for verdict in check_file(items, profile):
        print(json.dumps(verdict))


@app.command()
def schema(kind: Annotated[str, typer.Argument(help="study, profile or legend.")]) -> None:
    """Print the JSON schema of a configuration file."""
    import json

    from sscl_geo.io.profile import Profile
    from sscl_geo.learn.study import Study

    kinds: dict[str, type[Frozen]] = {"study": Study, "profile": Profile, "legend": Legend}
    if kind not in kinds:
        raise InvalidInputError(f"schema {kind!r}: choose one of {', '.join(kinds)}")
    print(json.dumps(kinds[kind].model_json_schema(), indent=1))


def _legend(name: str) -> Legend:
    return read_yaml(Legend, shipped_file("catalogs/legends", name, "--legend"))


def _named(text: str) -> tuple[str, Location]:
    name, found, path = text.partition("=")
    if not found:
        raise InvalidInputError(f"--map {text!r}: give NAME=PATH, such as ours=map.zarr")
    return name, location(path)


def main() -> None:
    """Run the command; a failure of the user's kind is one line and exit code 1 or 2."""
    set_environment()
    with reported():
        app()


if __name__ == "__main__":
    main()
