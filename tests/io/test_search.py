"""Searching real HTTP servers that behave well, badly, and with intent."""

import datetime as dt
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sscl_geo.errors import CatalogError
from sscl_geo.geo.bbox import BBox
from sscl_geo.geo.period import Period
from sscl_geo.io import search
from sscl_geo.io.search import Query, api_items

MAY = Period(start=dt.date(2024, 5, 1), end=dt.date(2024, 6, 1))
BOX = BBox(10, 40, 20, 50)
Points = list[tuple[str, float, float, str]]


def landing(href: str, method: str = "GET") -> dict[str, Any]:
    return {
        "type": "Catalog",
        "id": "api",
        "description": "",
        "stac_version": "1.0.0",
        "conformsTo": [
            "https://api.stacspec.org/v1.0.0/core",
            "https://api.stacspec.org/v1.0.0/item-search",
        ],
        "links": [
            {"rel": "search", "href": href, "method": method, "type": "application/geo+json"}
        ],
    }


def query(address: str, interval: Period = MAY, page_items: int = 5) -> Query:
    return Query(
        address=address, collections=("c",), boxes=(BOX,), interval=interval, page_items=page_items
    )


def point(name: str, x: float, y: float, day: str) -> dict[str, Any]:
    return {"id": name, "collection": "c", "bbox": [x, y, x, y], "day": day}


class Catalogue:
    """A STAC API over points, written for these tests: POST or GET, pages, counts."""

    def __init__(self, points: Points, *, method: str = "POST", counts: bool = True) -> None:
        self.points = points
        self.method = method
        self.counts = counts

    def __call__(self, asked: Any) -> Any:
        if asked.path == "/":
            return landing("/search", self.method)
        told = asked.body if self.method == "POST" else parsed(asked.path)
        start, end = (day[:10] for day in told["datetime"].split("/"))
        west, south, east, north = told["bbox"]
        all_found = [
            point(*one)
            for one in self.points
            if west <= one[1] <= east and south <= one[2] <= north and start <= one[3] <= end
        ]
        at = int(told.get("token", 0))
        page: dict[str, Any] = {"features": all_found[at : at + int(told["limit"])], "links": []}
        if self.counts:
            page["numberMatched"] = len(all_found)
        if at + int(told["limit"]) < len(all_found):
            page["links"].append(self.next_link(asked, at + int(told["limit"])))
        return page

    def next_link(self, asked: Any, at: int) -> dict[str, Any]:
        if self.method == "GET":
            href = asked.path.split("&token")[0] + f"&token={at}"
            return {"rel": "next", "href": href}
        return {
            "rel": "next",
            "href": "/search",
            "method": "POST",
            "merge": True,
            "body": {"token": at},
        }


def parsed(path: str) -> dict[str, Any]:
    told: dict[str, Any] = dict(parse_qsl(urlsplit(path).query))
    told["bbox"] = [float(side) for side in told["bbox"].split(",")]
    return told


def scattered(count: int) -> Points:
    return [
        (f"i{k}", 10 + (k * 7.31) % 10, 40 + (k * 3.17) % 10, f"2024-05-{k % 31 + 1:02d}")
        for k in range(count)
    ]


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("count", [0, 1, 5, 23, 230])
def test_every_item_comes_once_however_many_pages_and_quarters_it_takes(
    serve: Any, method: str, counts: bool, count: int
) -> None:
    catalogue = serve(Catalogue(scattered(count), method=method, counts=counts))
    found = [*api_items(query(catalogue.url))]
    assert sorted(item["id"] for item in found) == sorted(f"i{k}" for k in range(count))
    chain = [asked for asked in catalogue.asked if "token" in str(asked.body or asked.path)]
    assert len(chain) < count + 1


def test_a_year_is_asked_month_by_month(serve: Any) -> None:
    catalogue = serve(Catalogue([("a", 15, 45, "2024-02-01"), ("b", 15, 45, "2024-12-31")]))
    year = Period(start=dt.date(2024, 1, 1), end=dt.date(2025, 1, 1))
    assert [item["id"] for item in api_items(query(catalogue.url, year))] == ["a", "b"]
    asked = [one.body["datetime"][:7] for one in catalogue.asked if one.body]
    assert asked == [f"2024-{month:02d}" for month in range(1, 13)]


def test_an_area_that_no_quartering_makes_small_is_an_error(serve: Any) -> None:
    catalogue = serve(Catalogue([(f"i{k}", 15.1, 45.1, "2024-05-01") for k in range(101)]))
    with pytest.raises(CatalogError, match="more than 20 pages"):
        list(api_items(query(catalogue.url)))
    assert len(catalogue.asked) < 100


def test_too_many_items_in_all_are_an_error(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MAX_ITEMS", 9)
    catalogue = serve(Catalogue(scattered(10)))
    with pytest.raises(CatalogError, match=r"more than 9 items; .*--bbox"):
        list(api_items(query(catalogue.url)))


def paged(*pages: dict[str, Any]) -> Any:
    """Answer the n-th search with the n-th page, and then with the last one."""
    left = [*pages]

    def answer(asked: Any) -> Any:
        if asked.path == "/":
            return landing("/search", "POST")
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


def page(*names: str, matched: int | None = None, link: dict[str, Any] | None = None) -> Any:
    told: dict[str, Any] = {"features": [point(name, 15, 45, "2024-05-01") for name in names]}
    told["links"] = [link] if link else []
    return told if matched is None else told | {"numberMatched": matched}


def post_next(href: str, at: int = 0) -> dict[str, Any]:
    return {"rel": "next", "href": href, "method": "POST", "body": {"at": at}}


def test_an_item_on_two_pages_counts_once(serve: Any) -> None:
    answer = paged(page("a", "b", matched=3, link=post_next("/search")), page("b", "c", matched=3))
    assert [item["id"] for item in api_items(query(serve(answer).url))] == ["a", "b", "c"]


def test_an_empty_page_is_not_the_end(serve: Any) -> None:
    answer = paged(
        page("a", link=post_next("/search", 1)), page(link=post_next("/search", 2)), page("b")
    )
    assert [item["id"] for item in api_items(query(serve(answer).url))] == ["a", "b"]


def test_a_count_that_does_not_hold_is_asked_again_and_then_an_error(serve: Any) -> None:
    repaired = serve(paged(page("a", matched=2), page("a", "b", matched=2)))
    assert len([*api_items(query(repaired.url))]) == 2
    lying = serve(paged(page("a", matched=2)))
    with pytest.raises(CatalogError, match=r"counts 2 items .* but gives 1"):
        list(api_items(query(lying.url)))
    assert len(lying.asked) == 3


def test_a_next_link_that_is_no_json_is_followed_without_breaking(serve: Any) -> None:
    link = post_next("/search") | {"body": {"at": float("nan")}}
    answer = paged(page("a", link=link), page("b"))
    assert [item["id"] for item in api_items(query(serve(answer).url))] == ["a", "b"]


def test_pages_that_run_in_a_circle_are_an_error(serve: Any) -> None:
    circle = serve(
        paged(
            page("a", link=post_next("/search", 1)),
            page("b", link=post_next("/search", 2)),
            page("c", link=post_next("/search", 1)),
        )
    )
    with pytest.raises(CatalogError, match="back to a page"):
        list(api_items(query(circle.url)))
    assert len(circle.asked) == 4


def test_a_next_link_to_another_server_is_refused_unasked(serve: Any) -> None:
    other = serve(lambda _: page("stolen"))
    evil = serve(paged(page("a", link=post_next(f"{other.url}/search"))))
    with pytest.raises(CatalogError, match=f"sends on to '{other.url}/search'"):
        list(api_items(query(evil.url)))
    assert other.asked == []


@pytest.mark.parametrize("href", ["file:///etc/passwd", "//[", "http://169.254.169.254/latest"])
def test_a_next_link_to_nowhere_of_the_web_is_refused(serve: Any, href: str) -> None:
    evil = serve(paged(page("a", link=post_next(href))))
    with pytest.raises(CatalogError):
        list(api_items(query(evil.url)))


def test_credentials_do_not_follow_a_redirect(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    other = serve(lambda _: page("stolen"))
    evil = serve(lambda _: (b"", 307, {"Location": f"{other.url}/search"}))
    with pytest.raises(CatalogError, match="sends on to") as error:
        list(api_items(query(evil.url)))
    assert "Authorization" in evil.asked[0].headers
    assert other.asked == []
    assert "secret" not in str(error.value)


def test_a_redirect_on_the_same_server_is_followed(serve: Any) -> None:
    def moved(asked: Any) -> Any:
        if asked.path == "/":
            return (b"", 308, {"Location": "/v1"})
        if asked.path == "/v1":
            return landing("/v1/search")
        return page("a")

    assert [item["id"] for item in api_items(query(serve(moved).url))] == ["a"]


def test_a_redirect_that_would_lose_the_question_is_refused(serve: Any) -> None:
    def moved(asked: Any) -> Any:
        if asked.path == "/":
            return landing("/search", "POST")
        return page("everything") if asked.path == "/new" else (b"", 302, {"Location": "/new"})

    server = serve(moved)
    with pytest.raises(CatalogError, match="lose the question"):
        list(api_items(query(server.url)))
    assert [asked.path for asked in server.asked] == ["/", "/search"]


def test_a_busy_server_is_waited_for_also_by_a_post(serve: Any) -> None:
    answers = [(b"", 429, {"Retry-After": "1"}), (b"", 503, {"Retry-After": "0"}), page("a")]

    def busy(asked: Any) -> Any:
        if asked.path == "/":
            return landing("/search", "POST")
        return answers.pop(0)

    server, start = serve(busy), time.monotonic()
    assert [item["id"] for item in api_items(query(server.url))] == ["a"]
    assert time.monotonic() - start >= 1
    assert [asked.method for asked in server.asked] == ["GET", "POST", "POST", "POST"]
    assert server.asked[1].body == server.asked[3].body


def test_an_answer_that_breaks_off_is_asked_again(serve: Any) -> None:
    answers = [(b'{"features": [', 200, {"Content-Length": "5000"}), page("a")]

    def broken(asked: Any) -> Any:
        if asked.path == "/":
            return landing("/search", "POST")
        return answers.pop(0)

    assert [item["id"] for item in api_items(query(serve(broken).url))] == ["a"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((b"<html>", 200), "failed"),
        ((b"[" * 100_000, 200), "failed"),
        (([], 200), "not a JSON object"),
        ((b"", 404), "HTTP status 404"),
        (({**landing("/"), "links": []}, 200), "no link to a search"),
        ((landing("/"), 200), "not a GeoJSON FeatureCollection"),
    ],
)
def test_what_is_no_api_is_told(serve: Any, answer: Any, told: str) -> None:
    with pytest.raises(CatalogError, match=told) as error:
        list(api_items(query(serve(lambda _: answer).url)))
    assert "\n" not in str(error.value)


@given(st.integers(1, 60), st.integers(0, 10))
def test_the_question_s_digest_tells_questions_apart(page_items: int, east: int) -> None:
    one = Query(
        address="http://a", collections=("c",), boxes=(BOX,), interval=MAY, page_items=page_items
    )
    other = one.replace(boxes=(BOX._replace(east=20 + east),))
    assert (one.digest == other.digest) is (east == 0)
