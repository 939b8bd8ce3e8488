"""What Prometheus may ask for: counts and times, never texts."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
METHODS = ("GET", "POST", "PATCH", "DELETE")


class Numbers:
    """The metrics of one service. waiting, classifiers: functions that say how many there are now."""

    def __init__(self, waiting: Callable[[], int], classifiers: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        names = ["method", "path", "status"]
        self.requests = Counter("meta_text_requests", "Requests answered.", names, registry=self.registry)
        self.seconds = Histogram(
            "meta_text_request_seconds",
            "From the head of a request to the end of its answer.",
            ["path"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.texts = Counter("meta_text_texts", "Texts classified.", registry=self.registry)
        self.batches = Histogram(
            "meta_text_batch_texts", "Texts classified together.", buckets=TEXTS, registry=self.registry
        )
        for name, what, count in (
            ("meta_text_waiting_requests", "Requests that wait for their turn.", waiting),
            ("meta_text_classifiers", "Classifiers that are served.", classifiers),
        ):
            Gauge(name, what, registry=self.registry).set_function(count)

    def answered(self, method: str, path: str, status: int, seconds: float) -> None:
        """path: the route's, not the request's, and a method that is not known is one of the others: labels stay few."""
        self.requests.labels(method if method in METHODS else "other", path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)

    def batched(self, texts: int) -> None:
        self.texts.inc(texts)
        self.batches.observe(texts)

    def page(self) -> bytes:
        return generate_latest(self.registry)
