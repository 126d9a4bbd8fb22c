import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sscl_geo.errors import InvalidInputError
from sscl_geo.io.journal import journal
from sscl_geo.runtime.ledger import Ledger
from sscl_geo.runtime.work import Outcome

OUTCOMES = st.builds(
    Outcome,
    key=st.sampled_from(["a/0/0", "a/0/1", "a/1/0"]),
    status=st.sampled_from(["done", "empty", "failed"]),
    cause=st.text(),
    evidence=st.dictionaries(st.text(), st.none() | st.integers() | st.text(), max_size=2),
)
TORN = st.integers(1, 400)
LEDGER = "ledger.jsonl"
STEPS = st.lists(st.one_of(OUTCOMES, TORN, st.none()), max_size=12)


def done(key: str) -> Outcome:
    return Outcome(key=key, status="done", evidence={"pixels": 3})


def failed(key: str) -> Outcome:
    return Outcome(key=key, status="failed", cause="the disk\nis full")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_what_was_appended_is_known_whatever_killed_the_writers(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Outcome | int | None]
) -> None:
    folder = tmp_path_factory.mktemp("store")
    ledger, known = Ledger(journal(folder)), {}
    for step in steps:
        if isinstance(step, Outcome):
            ledger.append(step)
            known[step.key] = step
            continue
        if step is not None:  # a writer is killed in the middle of a line
            line = done("a/9/9").model_dump_json().encode()
            with (folder / LEDGER).open("ab") as file:
                file.write(line[: step % len(line) + 1])
        ledger = Ledger(journal(folder))
    assert ledger.outcomes == known
    assert Ledger(journal(folder)).outcomes == known
    finished = {key for key, outcome in known.items() if outcome.status != "failed"}
    assert Ledger(journal(folder)).finished == finished


def test_the_last_line_of_a_unit_counts(tmp_path: Path) -> None:
    ledger = Ledger(journal(tmp_path))
    for outcome in (failed("a"), done("a"), done("b"), failed("b")):
        ledger.append(outcome)
    assert Ledger(journal(tmp_path)).outcomes == {"a": done("a"), "b": failed("b")}
    assert Ledger(journal(tmp_path)).finished == {"a"}


def test_empty_units_need_no_work(tmp_path: Path) -> None:
    ledger = Ledger(journal(tmp_path))
    ledger.append(Outcome(key="a", status="empty", evidence={"empty": True}))
    assert Ledger(journal(tmp_path)).finished == ledger.finished == {"a"}


def test_a_torn_last_line_is_ignored_and_cut_off_before_the_next(tmp_path: Path) -> None:
    Ledger(journal(tmp_path)).append(done("a"))
    whole = (tmp_path / LEDGER).read_bytes()
    (tmp_path / LEDGER).write_bytes(whole + whole[:-1])
    ledger = Ledger(journal(tmp_path))
    assert ledger.outcomes == {"a": done("a")}
    assert (tmp_path / LEDGER).read_bytes() == whole + whole[:-1]
    ledger.append(done("b"))
    assert (tmp_path / LEDGER).read_bytes() == whole + done("b").model_dump_json().encode() + b"\n"


@pytest.mark.parametrize("line", ['{"key": "a", "st', "rubbish", "\x00\x00", ""])
def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path, line: str) -> None:
    ledger = Ledger(journal(tmp_path))
    ledger.append(done("a"))
    with (tmp_path / LEDGER).open("a") as file:
        file.write(f"{line}\n")
    ledger.append(done("b"))
    with pytest.raises(InvalidInputError, match=r"ledger\.jsonl line 2 is damaged; delete that"):
        Ledger(journal(tmp_path))


def test_a_line_that_is_no_outcome_is_named(tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_text('{"key": "a", "status": "maybe"}\n')
    with pytest.raises(InvalidInputError, match=r"ledger\.jsonl line 1: status: "):
        Ledger(journal(tmp_path))


def test_a_ledger_is_one_json_object_a_line(tmp_path: Path) -> None:
    ledger = Ledger(journal(tmp_path))
    ledger.append(failed("a"))
    ledger.append(done("b"))
    lines = (tmp_path / LEDGER).read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == ["a", "b"]


def test_a_store_without_a_ledger_has_done_nothing(tmp_path: Path) -> None:
    assert Ledger(journal(tmp_path)).outcomes == {}
    assert not list(tmp_path.iterdir())
