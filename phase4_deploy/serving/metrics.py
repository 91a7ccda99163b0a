"""What the service counts of itself, in a Prometheus registry of its own.

Labels are route templates, statuses and names of lanes and caches: a few dozen series, whatever
clients send. Times are in seconds.
"""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from phase4_deploy.serving.account import Usage

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
Depths = Callable[[], Mapping[str, int]]  # lane -> requests that wait


class Metrics:
    """The metrics, and `text()` for /metrics."""

    def __init__(self, depths: Depths = dict, rows: Depths = dict):
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "vermeil_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "vermeil_request_seconds", "Until an answer's last byte.", ["route"],
            registry=registry, buckets=SECONDS,
        )  # fmt: skip
        self.in_flight = Gauge(
            "vermeil_requests_in_flight", "Requests being answered.", registry=registry
        )
        self.first_token = Histogram(
            "vermeil_first_token_seconds", "Until the first new token left.", ["route"],
            registry=registry, buckets=SECONDS,
        )  # fmt: skip
        self.tokens = Counter(
            "vermeil_tokens", "Tokens read (prompt) and written (completion).", ["kind"],
            registry=registry,
        )  # fmt: skip
        self.images = Counter("vermeil_images", "Pictures drawn.", registry=registry)
        self.audio = Counter("vermeil_audio_seconds", "Seconds heard.", registry=registry)
        self.cache = Counter(
            "vermeil_cache",
            "Look-ups by what came of them.",
            ["cache", "result"],
            registry=registry,
        )
        registry.register(_Lanes("vermeil_queue_depth", "Requests that wait for a lane.", depths))
        registry.register(_Lanes("vermeil_rows", "Answers that a lane is writing.", rows))

    def looked_up(self, cache: str, hit: bool) -> None:
        """A cache was asked: "prefix", "pictures", ..."""
        self.cache.labels(cache, "hit" if hit else "miss").inc()

    def answered(self, route: str, status: int, seconds: float, usage: Usage) -> None:
        """A request came to its end."""
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)
        self.tokens.labels("prompt").inc(usage.prompt_tokens)
        self.tokens.labels("completion").inc(usage.completion_tokens)
        self.images.inc(usage.images)
        self.audio.inc(usage.audio_seconds)

    def text(self) -> str:
        """Everything in Prometheus' text format; its type is CONTENT_TYPE."""
        return generate_latest(self.registry).decode()


class _Lanes(Collector):
    """A number of each lane, asked for when Prometheus asks."""

    def __init__(self, name: str, about: str, numbers: Depths):
        self.name, self.about, self.numbers = name, about, numbers

    def collect(self) -> Iterator[GaugeMetricFamily]:
        gauge = GaugeMetricFamily(self.name, self.about, labels=["lane"])
        for lane, number in self.numbers().items():
            gauge.add_metric([lane], number)
        yield gauge
