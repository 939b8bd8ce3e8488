"""The HTTP service: its routes, and what OpenAPI says about them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.security import HTTPBearer

import meta_text
from meta_text.service import bodies
from meta_text.service.desk import Desk
from meta_text.service.guard import Guard
from meta_text.service.limits import Limits
from meta_text.service.problems import MEDIA_TYPE, Problem, add_handlers
from meta_text.service.store import Store

SECURED = [Depends(HTTPBearer(auto_error=False, description="META_TEXT_API_KEY, where the service has one."))]
REASONS = {
    400: "The body is not JSON.",
    401: "The API key is missing or wrong.",
    403: "Without an API key, only requests for a loopback name are answered.",
    404: "There is no such classifier.",
    408: "The body did not arrive in time.",
    409: "The id is taken, the service is full, or what it serves cannot be changed.",
    413: "The body is too long.",
    422: "The body has another form, breaks a limit, or cannot be learned from.",
    429: "Too many changes wait already; come again after Retry-After seconds.",
    500: "A fault of the service.",
    503: "Too many requests wait, or this one waited too long; come again after Retry-After seconds. Nothing was done.",
    507: "The change could not be stored, and was not made.",
}


def create_app(store: Store, limits: Limits, key: str | None = None) -> FastAPI:
    """The service over a folder of classifiers; its worker runs until the app shuts down."""
    desk = Desk(store, limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        desk.worker.close()
        store.close()

    # no page with scripts from elsewhere: /openapi.json is what there is to read
    app = FastAPI(title="meta_text", version=meta_text.__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.desk = desk
    _add_routes(app, desk)
    add_handlers(app)
    app.add_middleware(Guard, limits=limits, numbers=desk.numbers, key=key)
    app.openapi = lambda: _openapi(app, limits)  # type: ignore[method-assign]
    return app


def _add_routes(app: FastAPI, desk: Desk) -> None:
    def add(method: str, path: str, act: Any, summary: str, *reasons: int, **more: Any) -> None:
        responses: dict[int | str, dict[str, Any]] = {
            status: {"model": Problem, "description": REASONS[status]} for status in (*reasons, 401, 403, 500, 503)
        }
        app.add_api_route(
            path, act, methods=[method], summary=summary, responses=responses, operation_id=act.__name__, **more
        )

    body, change, secured = (400, 408, 413, 422), (409, 429, 507), {"dependencies": SECURED}
    one, every = "/v1/classifiers/{id}", "/v1/classifiers"
    answers, listed, made = bodies.Answers, bodies.Listed, bodies.Classifier
    add("POST", "/v1/predict", desk.predict, "Classify texts", 404, *body, response_model=answers, **secured)
    add("GET", every, desk.list_classifiers, "List the classifiers", response_model=listed, **secured)
    new = {"response_model": made, "status_code": 201}
    add("POST", every, desk.create_classifier, "Learn a classifier", *body, *change, **new, **secured)
    add("GET", one, desk.show_classifier, "Show a classifier", 404, 422, response_model=made, **secured)
    changed = {"response_model": bodies.Changed}
    add("PATCH", one, desk.change_classifier, "Change a classifier", 404, *body, *change, **changed, **secured)
    gone = {"status_code": 204}
    add("DELETE", one, desk.delete_classifier, "Remove a classifier", 404, 422, *change, **gone, **secured)
    add("GET", "/healthz", desk.health, "Is it there?", response_model=bodies.Health)
    add("GET", "/metrics", desk.metrics, "Metrics for Prometheus", **secured)


def _openapi(app: FastAPI, limits: Limits) -> dict[str, Any]:
    """As FastAPI writes it, with the media type of problems, the answers' headers, and the limits in words."""
    if app.openapi_schema is None:
        about = (
            f"Few-shot text classification. A request may hold {limits.body_bytes:,} bytes and {limits.texts:,} texts of "
            f"{limits.characters:,} characters; a classifier may have {limits.classes:,} classes and {limits.labelled:,} "
            f"examples. A request that has waited {limits.seconds:g} seconds is refused."
        )
        schema = get_openapi(title=app.title, version=app.version, description=about, routes=app.routes)
        for path, operations in schema["paths"].items():
            for operation in operations.values():
                _finish(path, operation["responses"])
        app.openapi_schema = schema
    return app.openapi_schema


def _finish(path: str, responses: dict[str, Any]) -> None:
    for status, response in responses.items():
        if int(status) >= 400:
            response["content"] = {MEDIA_TYPE: response["content"]["application/json"]}
        if status in ("429", "503"):
            response["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    if path == "/metrics":
        responses["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
