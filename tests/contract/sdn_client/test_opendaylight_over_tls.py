"""OpenFlow under TLS between the optical agent and a real OpenDaylight, and who is kept out."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import real_opendaylight
from opendaylight_devices import OpticalHouse
from real_opendaylight import CONTROLLER, RealOpenDaylight

from sdn_client.openflow13 import messages as of
from sdn_client.topology import CrossConnect
from trust import Authority, Credentials, Identity, Role
from trust.contexts import tls_context

pytestmark = [pytest.mark.real("opendaylight"), pytest.mark.timeout(1800)]

HELLO = 0


@pytest.fixture(scope="module")
def controller(
    tmp_path_factory: pytest.TempPathFactory, missing_part: Callable[[str, str], None]
) -> Iterator[RealOpenDaylight]:
    """An OpenDaylight that takes OpenFlow under TLS alone."""
    if why := real_opendaylight.why_missing():
        missing_part("opendaylight", why)
    folder = tmp_path_factory.mktemp("opendaylight-tls")
    with real_opendaylight.running(folder, openflow_tls=True) as instance:
        yield instance


def greeting(connection: socket.socket) -> int | None:
    """The type of what OpenDaylight says to a switch that says HELLO; None: it hangs up."""
    with connection:
        try:
            connection.sendall(of.encode(of.Hello(1)))
            head = connection.recv(8)
        except OSError:  # ssl.SSLError is one
            return None
    return int(struct.unpack("!BBHI", head)[1]) if len(head) == 8 else None


def knock(controller: RealOpenDaylight, context: ssl.SSLContext | None) -> int | None:
    plain = socket.create_connection(controller.settings.openflow, 10)
    if context is None:
        return greeting(plain)
    return greeting(context.wrap_socket(plain, server_hostname=CONTROLLER.dns_name))


def without_certificate(authority: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority))


def test_a_cross_connect_over_tls(controller: RealOpenDaylight, tmp_path: Path) -> None:
    house = OpticalHouse(controller, tmp_path, partitioned=False)
    pair = CrossConnect("polatis-1", 1, 2)
    try:
        with house.bench() as bench:
            bench.driver.apply(connect=[pair])
            assert bench.driver.read_cross_connects("polatis-1") == {pair}
    finally:
        house.close()


def test_whoever_has_no_certificate_of_our_authority_is_kept_out(
    controller: RealOpenDaylight, tmp_path: Path
) -> None:
    assert knock(controller, tls_context(controller.agent, server=False)) == HELLO
    stranger = Authority.create(tmp_path / "pki").issue(Identity(Role.OPTICAL_AGENT, "polatis-1"))
    trusting = Credentials(stranger.certificate, stranger.key, controller.agent.authority)
    assert knock(controller, tls_context(trusting, server=False)) is None
    assert knock(controller, without_certificate(controller.agent.authority)) is None
    assert knock(controller, None) is None
