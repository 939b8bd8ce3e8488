"""The service keeps to its own OpenAPI: requests drawn from it, right and wrong, are answered as it says."""

import contextlib
import warnings
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from test_serve import DRINKS, served

from meta_text.service.limits import Limits

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.generation.modes import GenerationMode
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
KEY = "0123456789abcdef"
HEADERS = {"Authorization": f"Bearer {KEY}"}


@pytest.mark.long
@pytest.mark.filterwarnings("default")
def test_requests_drawn_from_openapi_are_answered_as_it_says(tmp_path: Path) -> None:
    limits, statuses = Limits(body_bytes=20_000, texts=20, characters=200, classifiers=5, seconds=100.0), set[int]()
    with served(tmp_path, limits, KEY) as address:
        url = f"http://127.0.0.1:{address[1]}"
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")

        def there() -> None:
            """A classifier that requests may mean; what they made is removed."""
            for one in requests.get(f"{url}/v1/classifiers", headers=HEADERS, timeout=200).json()["classifiers"]:
                requests.delete(f"{url}/v1/classifiers/{one['id']}", headers=HEADERS, timeout=200)
            assert requests.post(f"{url}/v1/classifiers", json=DRINKS, headers=HEADERS, timeout=200).status_code == 201

        def ask(case: Any) -> None:
            answer = case.call(headers=HEADERS, timeout=200)
            statuses.add(answer.status_code)
            case.validate_response(answer, checks=CHECKS)

        for result in schema.get_all_operations():
            for mode in GenerationMode:
                there()
                with contextlib.suppress(Unsatisfiable):  # nothing can be wrong with a request that holds nothing
                    _draw(result.ok(), mode, ask)
    assert statuses >= {200, 204, 404, 422}  # which others are drawn is chance


def _draw(operation: Any, mode: Any, ask: Any) -> None:
    """Requests of one operation as they are drawn, and with the id of a classifier that is there."""

    @settings(
        max_examples=8,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def each(case: Any) -> None:
        ask(case)
        if isinstance(case.path_parameters, dict) and "id" in case.path_parameters:
            case.path_parameters = {**case.path_parameters, "id": DRINKS["id"]}
            ask(case)
        if isinstance(case.body, dict) and isinstance(case.body.get("classifier"), str):
            case.body = {**case.body, "classifier": DRINKS["id"]}
            ask(case)

    each()
