"""The process around the app: its address, its key, its connections, its end."""

import asyncio
import ipaddress
import logging
import os
import socket
import warnings
from contextlib import suppress
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from meta_text.errors import ConfigError, MetaTextError
from meta_text.service.app import create_app
from meta_text.service.limits import Limits
from meta_text.service.store import Store

KEY = "META_TEXT_API_KEY"
SHORTEST_KEY = 16


def api_key(host: str) -> str | None:
    """The key in the environment. Raises ConfigError for one that is too short, or if others can reach `host` and there is none."""
    key = os.environ.get(KEY, "").strip()
    if not key and not is_loopback(host):
        raise ConfigError(
            f"--host {host} can be reached from other machines, but {KEY} is not set; set it to a secret of {SHORTEST_KEY} "
            "characters or more, or leave --host out to serve this machine alone"
        )
    if key and len(key) < SHORTEST_KEY:
        raise ConfigError(f"{KEY} has {len(key)} characters; {SHORTEST_KEY} are needed, so that it cannot be guessed")
    return key or None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bound(host: str, port: int) -> socket.socket:
    """A listening socket. Raises MetaTextError if the address cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise MetaTextError(
            f"cannot listen on {host}, port {port} ({error}); choose another --host or --port"
        ) from None


class Connection(H11Protocol):
    """HTTP/1.1 with a deadline: for the head of a request to arrive, and for an answer to be read.

    A client that lets it pass is cut off; uvicorn itself waits for ever.
    """

    deadline: asyncio.TimerHandle | None = None
    seconds: float

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete and not self.flow.write_paused:
            self._expect_nothing()

    def on_response_complete(self) -> None:
        self._expect()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect()

    def _expect(self) -> None:
        self._expect_nothing()
        self.deadline = self.loop.call_later(self.seconds, self.transport.abort)

    def _expect_nothing(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None


def server_for(app: Any, limits: Limits) -> uvicorn.Server:
    timed = type("TimedConnection", (Connection,), {"seconds": limits.seconds})
    return uvicorn.Server(
        uvicorn.Config(
            app, http=timed, ws="none", lifespan="on", log_config=None, access_log=False, server_header=False
        )
    )


def serve(store: Store, limits: Limits, listening: socket.socket, key: str | None) -> None:
    """Serve until SIGTERM or SIGINT; what has been accepted by then is answered."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it warns of every request that is not HTTP
    warnings.simplefilter("ignore")  # of texts; notes of new classifiers go to who made them
    with suppress(KeyboardInterrupt):  # raised again by uvicorn after its end
        server_for(create_app(store, limits, key), limits).run(sockets=[listening])
