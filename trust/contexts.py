"""TLS 1.3 contexts from a service's files, made again when those change."""

from __future__ import annotations

import ssl
import threading
from typing import Any

import structlog

from trust.credentials import Credentials
from trust.errors import CredentialsError
from trust.revocation import begin_list

log = structlog.get_logger(__name__)


def tls_context(credentials: Credentials, *, server: bool) -> ssl.SSLContext:
    """A TLS 1.3 context that shows our certificate and insists on the peer's, unrevoked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    if server:
        # Who resumes a session is not asked for his certificate again.
        context.num_tickets = 0
    try:
        context.load_verify_locations(credentials.authority)
        context.load_cert_chain(credentials.certificate, credentials.key)
        if credentials.revocations is not None:
            context.load_verify_locations(credentials.revocations)
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(file) for file in credentials.files)
        raise CredentialsError(
            f"These files cannot be used together: {files}: {error}.",
            next_step="Issue a certificate with `qnfv pki issue`, and check the paths.",
        ) from error
    if credentials.tls_key_log is not None:
        log.warning("TLS session keys are written to a file", file=str(credentials.tls_key_log))
        context.keylog_filename = str(credentials.tls_key_log)
    return context


class LiveContext:
    """The context of a service that runs for long. Thread-safe.

    A renewed certificate, or a new list of revoked ones, counts from the next connection on.
    Files that cannot be used leave the context as it is.
    """

    def __init__(self, credentials: Credentials, *, server: bool) -> None:
        """Raises CredentialsError."""
        begin_list(credentials)
        self._credentials = credentials
        self._server = server
        self._lock = threading.Lock()
        self._seen = self._state_of_files()
        self._context = tls_context(credentials, server=server)

    @property
    def current(self) -> ssl.SSLContext:
        with self._lock:
            seen = self._state_of_files()
            if seen != self._seen:
                self._seen = seen
                try:
                    self._context = tls_context(self._credentials, server=self._server)
                except CredentialsError as error:
                    log.error("changed certificates are not used", why=error.detail)
            return self._context

    def for_listening(self) -> ssl.SSLContext:
        """What a server listens with: each handshake goes on with the context of that moment."""

        def choose(connection: Any, _name: str | None, _listening: ssl.SSLContext) -> None:
            connection.context = self.current

        listening = self.current
        listening.sni_callback = choose
        return listening

    def _state_of_files(self) -> tuple[tuple[int, int] | None, ...]:
        states: list[tuple[int, int] | None] = []
        for file in self._credentials.files:
            try:
                status = file.stat()
                states.append((status.st_mtime_ns, status.st_ino))
            except OSError:
                states.append(None)
        return tuple(states)
