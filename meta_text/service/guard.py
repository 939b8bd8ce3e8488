"""What a request meets before the app: its host, its key, how many there are, its size, and the time that it takes."""

import asyncio
import hmac
import time
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from meta_text.service.limits import Limits
from meta_text.service.numbers import Numbers
from meta_text.service.problems import RefusedError

OPEN_PATHS = ("/healthz", "/openapi.json")  # no key is needed for these
LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
CUT = 499  # in the metrics: the client was gone before the answer


class Guard:
    """ASGI middleware: refuses early, reads the whole body, and drops the work of a client that is gone.

    key: what `Authorization: Bearer` must bring. Without one, only requests for a loopback name are answered, so that a web page
    whose own name is pointed at this machine cannot ask.
    """

    def __init__(self, app: ASGIApp, limits: Limits, numbers: Numbers, key: str | None) -> None:
        self.app, self.limits, self.numbers, self.key = app, limits, numbers, key
        self.open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), CUT

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self.open += 1
        try:
            self._check(scope)
            body = await self._body(Headers(scope=scope), receive)
            await self._until_cut(scope, body, receive, noting)
        except RefusedError as refused:
            await refused.response()(scope, receive, noting)
        except _CutError:
            pass
        finally:
            self.open -= 1
            path = getattr(scope.get("route"), "path", "other")
            self.numbers.answered(scope["method"], path, status, time.perf_counter() - started)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if self.key is None:
            host = headers.get("host", "")
            if host.rpartition(":")[0] not in LOCAL_HOSTS and host not in LOCAL_HOSTS:
                raise RefusedError(403, "without an API key, only requests to 127.0.0.1 or localhost are answered")
        elif scope["path"] not in OPEN_PATHS and not self._has_key(headers.get("authorization", "")):
            raise RefusedError(
                401,
                "no valid API key; send the header Authorization: Bearer KEY, with the service's META_TEXT_API_KEY",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if self.open > self.limits.connections:
            raise RefusedError.for_now(503, f"{self.limits.connections} requests are open, which is the limit")

    def _has_key(self, header: str) -> bool:
        kind, _, given = header.partition(" ")
        assert self.key is not None
        return hmac.compare_digest(given.strip().encode(), self.key.encode()) and kind.lower() == "bearer"

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        """The whole body. Raises RefusedError for one that is too long (413) or too slow (408)."""
        most = self.limits.body_bytes
        too_long = RefusedError(413, f"the body has more than {most} bytes, which is the limit; send it in parts")
        if headers.get("content-length", "0").isdecimal() and int(headers.get("content-length", "0")) > most:
            raise too_long
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.limits.seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _CutError
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        raise too_long
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            raise RefusedError(408, f"the body did not arrive within {self.limits.seconds:g} seconds") from None

    async def _until_cut(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Run the app on the body; a connection that is cut meanwhile cancels it."""
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                await asyncio.Event().wait()  # what comes next, a cut, is met below
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        work = asyncio.ensure_future(self.app(scope, replay, send))
        cut = asyncio.ensure_future(_cut(receive))
        try:
            await asyncio.wait({work, cut}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            cut.cancel()
            if not work.done():
                work.cancel()
        with suppress(asyncio.CancelledError):
            await work


async def _cut(receive: Receive) -> None:
    """Returns when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


class _CutError(Exception):
    """The client is gone."""
