"""Overview, schedule and keys change by themselves while people look at them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from e2e_house import House
from gui_visitors import Visitors
from playwright.sync_api import expect
from sqlalchemy import Engine, delete, func, select

from database import open_engine, writing
from key_management.ledger import KeyLedger
from key_management.states import KeyState
from key_management.tables import KeyRow
from key_management.wrapping import WrappingKeys
from orchestrator.events.bus import EventBus
from orchestrator.network.tables import CircuitRow, CrossConnectRow, OwnerRow, PortUseRow
from orchestrator.schedule.alarms import Alarms
from timekeeping import SystemClock

# What a map or plot has painted: how many different colours stand in its canvases.
COLOURS = """(selector) => {
  const painted = (canvas) => {
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
    copy.drawImage(canvas, 0, 0);
    const pixels = copy.getImageData(0, 0, canvas.width, canvas.height).data;
    const found = new Set();
    for (let at = 0; at < pixels.length; at += 4)
      if (pixels[at + 3]) found.add(pixels.slice(at, at + 3).join());
    return found.size;
  };
  return Math.max(0, ...[...document.querySelectorAll(`${selector} canvas`)].map(painted));
}"""


@contextmanager
def database_of(house: House) -> Iterator[Engine]:
    """The running orchestrator's."""
    engine = open_engine(f"sqlite:///{house.lab.layout.folder}/orchestrator/orchestrator.sqlite")
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def alice_held_at(house: House, data_centre: str) -> Iterator[str]:
    """Alice stays with this data centre's Bob, however full his pool is; yields the link."""
    link = house.pool(data_centre)["link"]
    document = {"kind": "hold", "interrupt": True}
    house.client.put(f"/api/v1/schedule/bobs/{link}/pin", document)
    try:
        yield link
    finally:
        house.client.delete(f"/api/v1/schedule/bobs/{link}/pin")


def test_the_map_draws_the_network_and_where_light_is(visitors: Visitors, house: House) -> None:
    with visitors.visitor("viewer-of-gui") as viewer:
        viewer.goes_to("/")
        viewer.page.wait_for_selector("#map[data-live]")
        assert viewer.page.evaluate(COLOURS, "#map") > 20
        for data_centre, fibre in (("dc-2", "quantum-spool-2"), ("dc-1", "quantum-spool-1")):
            with alice_held_at(house, data_centre) as link:
                viewer.page.wait_for_selector(f"#map[data-live*='{fibre}']")
                bob = link.removeprefix("alice--")
                expect(viewer.page.locator("#map_data")).to_contain_text(f"alice to {bob}")
                expect(viewer.page.locator("#alices")).to_contain_text(link)


def test_the_schedule_goes_on_and_takes_orders(visitors: Visitors, house: House) -> None:
    with visitors.visitor("operator-of-gui") as operator:
        page = operator.page
        operator.goes_to("/schedule?hours=24")
        newest = page.locator("#latest tbody tr").first
        before = newest.inner_text()
        with alice_held_at(house, "dc-1") as link:
            expect(newest).to_contain_text(link)  # turns come by themselves
            expect(newest).not_to_have_text(before)
            expect(page.locator("#gantt rect.phase-generating").first).to_be_attached()
        link = house.pool("dc-2")["link"]
        row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=link))
        row.get_by_role("button", name="Exclude").click()
        page.get_by_role("button", name="No, leave it").click()
        expect(row).not_to_contain_text("excluded")
        row.get_by_role("button", name="Exclude").click()
        page.get_by_role("button", name="Yes, do it").click()
        expect(row).to_contain_text("excluded")
        pools = {pool["link"]: pool for pool in house.get("/api/v1/schedule/pools")}
        assert pools[link]["orders"]["excluded"]
        # Somebody else changes it, and the page shows that without being asked.
        house.client.delete(f"/api/v1/schedule/bobs/{link}/exclude")
        expect(row).not_to_contain_text("excluded")
        row.get_by_role("button", name="Hold").click()
        page.get_by_role("button", name="Yes, do it").click()
        expect(row).to_contain_text("held")
        row.get_by_role("button", name="Unpin").click()
        expect(row.get_by_role("button", name="Serve next")).to_be_visible()
        expect(page.get_by_text("is no longer pinned")).to_be_visible()


def test_an_order_has_an_end_and_a_reason(visitors: Visitors, house: House) -> None:
    link = house.pool("dc-3")["link"]
    with visitors.visitor("operator-of-gui") as operator:
        page = operator.page
        operator.goes_to("/schedule")
        row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=link))
        pin = page.get_by_role("form", name="Pin a Bob")
        pin.locator("[name=link]").select_option(link)
        pin.get_by_label("For how long").select_option("10 min")
        pin.get_by_label("Order").select_option("Alice stays with him")
        pin.get_by_label("end the turn that is on").check()
        pin.get_by_role("button", name="Pin").click()
        expect(row).to_contain_text("held")
        expect(row).to_contain_text(re.compile("until in (9|10) min"))
        exclude = page.get_by_role("form", name="Exclude a Bob")
        exclude.locator("[name=link]").select_option(link)
        exclude.get_by_label("For how long").select_option("8 h")
        exclude.get_by_label("Why").fill("the fibre is <b>spliced</b>")
        exclude.get_by_role("button", name="Exclude").click()
        page.get_by_role("button", name="Yes, do it").click()
        expect(row).to_contain_text("excluded the fibre is <b>spliced</b> until in")
        expect(row).not_to_contain_text("held")
        assert operator.accessibility_findings() == []
        orders = {pool["link"]: pool["orders"] for pool in house.get("/api/v1/schedule/pools")}
        assert orders[link]["excluded_until"] is not None
        row.get_by_role("button", name="Include").click()
        expect(row).not_to_contain_text("excluded")


def test_a_suspicious_turn_is_released_by_an_administrator(
    visitors: Visitors, house: House
) -> None:
    link = house.pool("dc-1")["link"]
    with visitors.visitor("admin-of-gui") as boss, keys_in_doubt(house, link) as count:
        page = boss.page
        boss.goes_to("/keys")
        row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=link))
        expect(row).to_contain_text("QBER 9.1 %")
        row.get_by_role("button", name="Release").click()
        page.get_by_role("button", name="Yes, do it").click()
        expect(page.locator("#quarantine")).not_to_contain_text("QBER 9.1 %")
        counts = house.pool("dc-1")["counts"]
        assert counts["QUARANTINED"] == 0, (count, counts)


@contextmanager
def keys_in_doubt(house: House, link: str) -> Iterator[int]:
    """A turn that has keys left, put under quarantine in the orchestrator's ledger; how many."""
    with database_of(house) as engine:
        wrapping = WrappingKeys(house.lab.layout.folder / "orchestrator" / "wrapping")
        with engine.connect() as connection:
            turn, count = connection.execute(
                select(KeyRow.turn, func.count())
                .where(KeyRow.link == link, KeyRow.state == KeyState.AVAILABLE)
                .where(KeyRow.turn.is_not(None))
                .group_by(KeyRow.turn)
                .limit(1)
            ).one()
        assert turn is not None
        ledger = KeyLedger(engine, wrapping, SystemClock())
        assert ledger.quarantine(link, turn, "QBER 9.1 % is too high") > 0
    yield count


def test_a_stray_cross_connect_is_seen_and_put_right(visitors: Visitors, house: House) -> None:
    made = house.client.post("/api/v1/circuits", {"from_end_point": "co-2", "to_end_point": "dc-3"})
    # Its record is lost, as by a restored database: the switch still holds it.
    with database_of(house) as engine, writing(engine) as session:
        circuit_id = UUID(made["circuit_id"])
        for table in (PortUseRow, CrossConnectRow, OwnerRow):
            session.execute(delete(table).where(table.circuit_id == circuit_id))
        session.execute(delete(CircuitRow).where(CircuitRow.id == circuit_id))
    with visitors.visitor("admin-of-gui") as boss:
        page = boss.page
        boss.goes_to("/network")
        drift = page.locator("#drift")
        for stray in made["cross_connects"]:
            expect(drift).to_contain_text(stray)
        drift.get_by_role("button", name="Put the device right").click()
        page.get_by_role("button", name="Yes, do it").click()
        expect(drift).not_to_contain_text("Stray")
    assert all(one["in_step"] for one in house.get("/api/v1/network/drift"))


def test_a_pools_history_is_drawn_and_a_used_key_is_traced(
    visitors: Visitors, house: House, small_image: str
) -> None:
    deployments = [house.deploy(small_image, "dc-1")]
    house.ended(deployments[0]["operation_id"])
    transfer = next(t for t in house.get("/api/v1/transfers") if t["image_digest"] == small_image)
    with visitors.visitor("viewer-of-gui") as viewer:
        page = viewer.page
        viewer.goes_to("/keys?hours=24")
        expect(page.locator(".plot canvas")).to_have_count(len(house.get("/api/v1/keys")))
        assert page.evaluate(COLOURS, ".plot") > 5
        pool = page.locator("#pools section").first
        consumed = pool.locator("dt:has-text('Consumed') + dd")
        before = consumed.inner_text()
        deployments.append(house.deploy(small_image, "dc-1"))
        expect(consumed).not_to_have_text(before)
        assert page.evaluate(COLOURS, ".plot") > 5  # it is still there after the change
        expect(pool.get_by_text("emulated")).to_be_visible()
        page.get_by_label("Key id").fill(transfer["key_id"])
        page.get_by_role("button", name="Trace").click()
        expect(page.get_by_role("main")).to_contain_text(small_image)
        expect(page.get_by_role("main")).to_contain_text("emulated")
        page.get_by_label("Key id").fill("no id")
        page.get_by_role("button", name="Trace").click()
        expect(page.get_by_role("alert")).to_contain_text("That is no key id")
    house.ended(deployments[1]["operation_id"])
    for deployment in deployments:
        house.remove(deployment)


def test_a_circuit_is_made_and_ended_by_hand(visitors: Visitors, house: House) -> None:
    with visitors.visitor("operator-of-gui") as operator:
        page = operator.page
        operator.goes_to("/network")
        page.locator("[name=from_end_point]").select_option("co-2")
        page.locator("[name=to_end_point]").select_option("bob-1")
        operator.tolerates("status of 4")
        page.get_by_role("button", name="Connect").click()
        expect(page.get_by_role("alert").first).to_contain_text("light")  # kinds never mix
        page.locator("[name=to_end_point]").select_option("dc-3")
        page.get_by_role("button", name="Connect").click()
        row = page.get_by_role("row").filter(has_text="co-2 to dc-3")
        expect(row).to_contain_text("up")
        expect(row).to_contain_text("manual:operator-of-gui")
        row.get_by_role("button", name="Disconnect").click()
        page.get_by_role("button", name="Yes, do it").click()
        expect(row).to_be_hidden()
    circuits = house.get("/api/v1/circuits")["circuits"]
    assert not [circuit for circuit in circuits if circuit["to_end_point"] == "dc-3"]


def test_an_alarm_comes_by_itself_and_goes_when_it_is_acknowledged(
    visitors: Visitors, house: House
) -> None:
    detail = "The error rate rose <b>above</b> 8 %."
    with visitors.visitor("operator-of-gui") as operator:
        operator.goes_to("/")
        expect(operator.page.get_by_role("heading", name="Alice's turn")).to_be_visible()
        with database_of(house) as engine:
            Alarms(engine, SystemClock(), EventBus()).raise_("qber", "alice--bob-3", detail)
        alarm = operator.page.get_by_role("article").filter(has_text=detail)
        expect(alarm).to_be_visible()  # as text, not as markup
        alarm.get_by_role("button", name="Acknowledge").click()
        expect(alarm).to_be_hidden()
    assert detail not in [alarm["detail"] for alarm in house.get("/api/v1/alarms")]
