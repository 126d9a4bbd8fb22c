"""From a STAC catalogue to a cube: one unit composites one tile over one period."""

from functools import partial

from sscl_geo.frozen import parse
from sscl_geo.io.journal import journal
from sscl_geo.io.location import AnyLocation
from sscl_geo.io.plan import SOURCES, sources_of
from sscl_geo.io.store import Store
from sscl_geo.io.tables import SCENES, TILES, read_scenes, records_table
from sscl_geo.runtime.stage import Summary, execute
from sscl_geo.runtime.work import Machines, Outcome, Stage
from sscl_geo.stages.ingest.composite import Job, composite_unit
from sscl_geo.stages.ingest.estimate import Estimate, estimated, unit_bytes
from sscl_geo.stages.ingest.plan import Kept, create, derived, reopen, units
from sscl_geo.stages.ingest.recomposite import CompositeRequest, composite_days
from sscl_geo.stages.ingest.recomposite import resume as resume_composites
from sscl_geo.stages.ingest.request import IngestRequest, IngestUnit, Method, Tolerance

__all__ = [
    "CompositeRequest",
    "Estimate",
    "IngestRequest",
    "Method",
    "composite_days",
    "estimate",
    "ingest",
    "resume",
]


def ingest(request: IngestRequest, out: AnyLocation, machines: Machines) -> Summary:
    """Make the cube of a request at a path, or finish one that was begun.

    The search happens once and is kept in the store; a second run reads it there.

    Raises:
        InvalidInputError: The request breaks a rule, or something else stands at `out`.
        CatalogError: The catalogue cannot be searched.
        NoSceneError: A sensor has no scene.
        PlanConflictError: The store at `out` was made by another request.
        HolesError: Units failed.
    """
    store = reopen(request, out) or create(request, out)
    tolerance = Tolerance(max_unreadable=request.method.max_unreadable)
    store.put(SOURCES, tolerance.model_dump_json().encode())
    kept = Kept.model_validate(store.plan.content)
    scenes = read_scenes((store.path / SCENES).read_bytes())
    planned = units(kept.spec, scenes, request.method.orbit)
    return execute(_stage(request, kept, planned, store), journal(out), machines, "ingest")


def resume(out: AnyLocation, machines: Machines) -> Summary:
    """Finish a cube from what it knows of itself.

    Raises:
        InvalidInputError: There is no cube at the path, or the cube of days that it is made of has
            gone.
        HolesError: Units failed.
    """
    plan = Store.open(out, "cube").plan
    if "cube" in plan.arguments:
        return resume_composites(out, machines)
    request = parse(IngestRequest, plan.arguments, str(out))
    tolerance = parse(Tolerance, sources_of(out), str(out))
    method = request.method.replace(max_unreadable=tolerance.max_unreadable)
    return ingest(request.replace(method=method), out, machines)


def estimate(request: IngestRequest) -> Estimate:
    """Search, and tell what an ingest would read and write; nothing is read or written.

    Raises:
        InvalidInputError: The request breaks a rule.
        CatalogError: The catalogue cannot be searched.
        NoSceneError: A sensor has no scene.
    """
    kept, scenes = derived(request.replace(ask_pixels=False))
    return estimated(kept.spec, units(kept.spec, scenes, request.method.orbit))


def _stage(
    request: IngestRequest, kept: Kept, planned: tuple[IngestUnit, ...], store: Store
) -> Stage:
    # Every task carries the job, so it leaves out the list of tiles.
    grids = tuple(grid.replace(kept=None) for grid in kept.spec.grids)
    job = Job(
        out=store.path.resolve(),
        spec=kept.spec.replace(grids=grids),
        signing=request.source.profile.signing,
        private_hosts=request.source.profile.private_hosts,
        method=request.method,
    )
    return Stage(
        plan=lambda: planned,
        prepare=store.sweep,
        run=partial(composite_unit, job),
        publish=partial(_publish, store),
        memory=partial(unit_bytes, kept.spec, planned, request.method),
    )


def _publish(store: Store, outcomes: list[Outcome]) -> None:
    store.put(TILES, records_table([outcome.record for outcome in outcomes]))
