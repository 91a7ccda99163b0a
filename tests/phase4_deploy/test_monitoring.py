"""Prometheus and Grafana look at metrics that the server has, under the labels that it gives."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import promql_parser
import pytest
import yaml

from phase4_deploy.serving.account import Usage
from phase4_deploy.serving.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "phase4_deploy/monitoring"
BOARD = json.loads((FOLDER / "grafana/dashboards/vermeil.json").read_text())
# Whatever Prometheus adds by itself.
SCRAPED = {"job", "instance"}
QUERIES = [
    pytest.param(target["expr"], id=f"{panel['title']}-{target['refId']}")
    for panel in BOARD["panels"]
    for target in panel["targets"]
]


def series() -> dict[str, set[str]]:
    """The names of all series of the registry, each with its labels."""
    metrics = Metrics(depths=lambda: {"lm": 1}, rows=lambda: {"lm": 2})
    metrics.answered("/v1/completions", 200, 0.1, Usage(1, 0, 2, 3, 4, 5.0))
    metrics.first_token.labels("/v1/completions").observe(0.1)
    metrics.looked_up("prefix", True)
    found: dict[str, set[str]] = {"up": set()}
    for family in metrics.registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


SERIES = series()


def parsed(query: str) -> promql_parser.Expr:
    return promql_parser.parse(query.replace("$__rate_interval", "1m"))


def nodes(expression) -> Iterator:
    """The expression and all that it is made of."""
    yield expression
    for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
        if (inner := getattr(expression, name, None)) is not None:
            yield from nodes(inner)
    for inner in getattr(expression, "args", None) or ():
        yield from nodes(inner)


def selectors(query: str) -> list[tuple[str, set[str]]]:
    """The series that a query names, each with the labels it matches."""
    found = [n for n in nodes(parsed(query)) if isinstance(n, promql_parser.VectorSelector)]
    return [(one.name, {m.name for m in one.matchers.matchers}) for one in found]


@pytest.mark.parametrize("query", QUERIES)
def test_queries_ask_for_series_and_labels_that_exist(query):
    asked = selectors(query)
    assert len(asked) == len(re.findall(r"\bvermeil_\w+|\bup\b", query)) > 0
    grouped = {label for _, group in re.findall(r"(by|ignoring) \(([^)]*)\)", query)
               for label in re.split(r",\s*", group)}  # fmt: skip
    for name, labels in asked:
        assert name in SERIES, name
        assert labels <= SERIES[name] | SCRAPED, (name, labels)
        assert grouped <= SERIES[name], (name, grouped)
    legends = {
        t["legendFormat"] for p in BOARD["panels"] for t in p["targets"] if t["expr"] == query
    }
    shown = set(re.findall(r"{{(\w+)}}", " ".join(legends)))
    assert shown <= grouped


@pytest.mark.parametrize("query", QUERIES)
def test_counters_are_read_as_rates_and_gauges_are_not(query):
    for name, _ in selectors(query):
        counted = name.endswith(("_total", "_bucket", "_count", "_sum"))
        assert counted == bool(re.search(rf"rate\({name}\b", query)), name


def test_a_name_that_is_wrong_would_be_noticed():
    asked = selectors("sum(rate(vermeil_request_total{rout='x'}[5m]))")
    assert asked == [("vermeil_request_total", {"rout"})]
    assert "vermeil_request_total" not in SERIES


def test_the_board_shows_what_was_asked_for():
    queries = " ".join(query.values[0] for query in QUERIES)
    for name in ("requests_total", "request_seconds_bucket", "first_token_seconds_bucket",
                 "queue_depth", "tokens_total"):  # fmt: skip
        assert f"vermeil_{name}" in queries
    assert 'status=~"5.."' in queries
    assert "0.5," in queries and "0.95," in queries


def test_panels_have_numbers_of_their_own_and_do_not_overlap():
    panels = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"])
                 for y in range(at["y"], at["y"] + at["h"])}  # fmt: skip
        assert at["x"] + at["w"] <= 24 and not cells & taken
        taken |= cells


def test_grafana_finds_its_source_and_its_board():
    [source] = yaml.safe_load(
        (FOLDER / "grafana/provisioning/datasources/prometheus.yaml").read_text()
    )["datasources"]
    named = {panel["datasource"]["uid"] for panel in BOARD["panels"]}
    named |= {target["datasource"]["uid"] for p in BOARD["panels"] for target in p["targets"]}
    assert named == {source["uid"]}
    [provider] = yaml.safe_load(
        (FOLDER / "grafana/provisioning/dashboards/vermeil.yaml").read_text()
    )["providers"]
    grafana = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["grafana"]
    mounted = dict(volume.split(":")[:2] for volume in grafana["volumes"])
    boards = mounted["./phase4_deploy/monitoring/grafana/dashboards"]
    assert provider["options"]["path"] == boards
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{boards}/vermeil.json"


def test_prometheus_looks_at_services_that_compose_starts():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    jobs = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    targets = {one["job_name"]: one["static_configs"][0]["targets"] for one in jobs}
    [target] = targets["vermeil"]
    name, port = target.split(":")
    assert port in services[name]["command"]
    assert f"127.0.0.1:{port}:{port}" in services[name]["ports"]
