"""ETSI GS QKD 014 at both ends, over real mutual TLS: what is delivered, and what is refused."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from kme_house import LINK, House, build_house, served

from key_management.etsi014.errors import KmeRefusedError, KmeUnavailableError
from key_management.states import KeyState
from trust import Authority, Identity, Role

LIMITS = {"max_key_per_request": 16, "max_key_size_bit": 2048, "max_sae_id_count": 1}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = build_house(tmp_path_factory.mktemp("kme"))
    house.alice.more = house.bob.more = {"limits": LIMITS}
    with house.open():
        yield house


def counts(house: House) -> list[dict[KeyState, int]]:
    found = []
    for site in (house.alice, house.bob):
        with site.ledger() as ledger:
            found.append(ledger.check_account(LINK).counts)
    return found


@pytest.fixture
def asking(house: House) -> Iterator[Callable[..., httpx.Response]]:
    """Raw requests: (sae, method, path, ...) to the KME that it is attached to."""
    clients: list[httpx.Client] = []

    def ask(sae: str, method: str, path: str, **more: Any) -> httpx.Response:
        site = house.alice if sae in house.alice.saes else house.bob
        clients.append(site.http(site.saes[sae]))
        return clients[-1].request(method, f"/api/v1/keys/{path}", **more)

    yield ask
    for client in clients:
        client.close()


def assert_error(answer: httpx.Response, status: int, message: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    document: dict[str, Any] = answer.json()
    assert set(document) == {"message", "details"}
    assert message in document["message"]
    assert all(isinstance(detail, dict) for detail in document["details"])
    assert answer.headers["cache-control"] == "no-store"
    return document


@pytest.mark.parametrize(("master", "slave"), [("enc-1", "dec-1"), ("dec-1", "enc-1")])
def test_both_saes_get_the_same_keys_whichever_end_asks(
    house: House, master: str, slave: str
) -> None:
    sites = {sae: site for site in (house.alice, house.bob) for sae in site.saes}
    house.fill(4)
    before = counts(house)
    mine = sites[master].client(master).enc_keys(slave, number=3)
    theirs = sites[slave].client(slave).dec_keys(master, [key.key_id for key in mine])
    assert [key.key_id for key in theirs] == [key.key_id for key in mine]
    assert [key.key for key in theirs] == [key.key for key in mine]
    assert all(len(key.key) == 32 and key.emulated for key in mine)
    assert {bytes(key.key) for key in mine} <= set(house.keys.values())
    assert not {key.key_id for key in mine} & set(house.keys), "outward ids are fresh"
    for end, earlier in zip(counts(house), before, strict=True):
        assert end[KeyState.CONSUMED] == earlier[KeyState.CONSUMED] + 3
        assert end[KeyState.ARMED] == earlier[KeyState.ARMED] == 0


@pytest.mark.parametrize(("size_bit", "blocks"), [(64, 1), (256, 1), (264, 2), (1024, 4)])
def test_a_key_of_any_size_is_cut_from_whole_blocks(
    house: House, size_bit: int, blocks: int
) -> None:
    house.fill(2 * blocks)
    before = counts(house)[0][KeyState.CONSUMED]
    mine = house.alice.client("enc-1").enc_keys("dec-1", number=2, size_bit=size_bit)
    theirs = house.bob.client("dec-1").dec_keys("enc-1", [key.key_id for key in mine])
    assert [key.key for key in theirs] == [key.key for key in mine]
    assert all(len(key.key) * 8 == size_bit for key in mine)
    assert mine[0].key != mine[1].key
    assert counts(house)[0][KeyState.CONSUMED] == before + 2 * blocks


def test_the_status_says_what_there_is(house: House, asking: Callable[..., httpx.Response]) -> None:
    house.fill(5)
    available = counts(house)[0][KeyState.AVAILABLE]
    answer = asking("enc-1", "GET", "dec-1/status")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "source_KME_ID": "kme-a",
        "target_KME_ID": "kme-b",
        "master_SAE_ID": "enc-1",
        "slave_SAE_ID": "dec-1",
        "key_size": 256,
        "stored_key_count": available,
        "max_key_count": 4096,
        "max_key_per_request": 16,
        "max_key_size": 2048,
        "min_key_size": 64,
        "max_SAE_ID_count": 1,
        "status_extension": {"source": "emulated"},
    }
    assert asking("dec-2", "GET", "enc-2/status").json()["stored_key_count"] == available


def test_get_and_post_do_the_same(house: House, asking: Callable[..., httpx.Response]) -> None:
    house.fill(4)
    got = asking("enc-1", "GET", "dec-1/enc_keys")
    assert got.headers["cache-control"] == "no-store"
    assert len(got.json()["keys"]) == 1
    assert got.json()["keys"][0]["key_extension"] == {"source": "emulated"}
    many = asking("enc-1", "GET", "dec-1/enc_keys", params={"number": 2, "size": 128}).json()
    assert [len(base64.b64decode(key["key"])) for key in many["keys"]] == [16, 16]
    empty = asking("enc-1", "POST", "dec-1/enc_keys").json()
    fetched = asking(
        "dec-1", "GET", "enc-1/dec_keys", params={"key_ID": empty["keys"][0]["key_ID"]}
    )
    assert fetched.json() == empty
    posted = asking(
        "dec-1",
        "POST",
        "enc-1/dec_keys",
        json={"key_IDs": [{"key_ID": key["key_ID"]} for key in many["keys"]]},
    )
    assert posted.json() == many


def test_a_key_for_two_slaves_is_erased_once_both_have_it(
    house: House, asking: Callable[..., httpx.Response]
) -> None:
    house.fill(1)
    body = {"additional_slave_SAE_IDs": ["dec-2"], "number": 1}
    key = asking("enc-1", "POST", "dec-1/enc_keys", json=body).json()["keys"][0]
    before = counts(house)[1][KeyState.ARMED]
    for slave, still in (("dec-1", 0), ("dec-2", 1)):
        fetched = asking(slave, "GET", "enc-1/dec_keys", params={"key_ID": key["key_ID"]})
        assert fetched.json()["keys"][0]["key"] == key["key"]
        assert counts(house)[1][KeyState.ARMED] == before - still
        again = asking(slave, "GET", "enc-1/dec_keys", params={"key_ID": key["key_ID"]})
        assert_error(again, 400, "one or more keys specified are not found on KME")


def test_a_replayed_id_is_not_found(house: House, asking: Callable[..., httpx.Response]) -> None:
    house.fill(2)
    ids = [
        {"key_ID": key["key_ID"]}
        for key in asking("enc-1", "GET", "dec-1/enc_keys", params={"number": 2}).json()["keys"]
    ]
    assert asking("dec-1", "POST", "enc-1/dec_keys", json={"key_IDs": ids[:1]}).status_code == 200
    both = asking("dec-1", "POST", "enc-1/dec_keys", json={"key_IDs": ids})
    assert_error(both, 400, "one or more keys specified are not found on KME")
    rest = asking("dec-1", "POST", "enc-1/dec_keys", json={"key_IDs": ids[1:]})
    assert rest.status_code == 200, "a refused request takes nothing"


def test_an_unknown_id_is_not_found(asking: Callable[..., httpx.Response]) -> None:
    answer = asking("dec-1", "GET", "enc-1/dec_keys", params={"key_ID": str(uuid4())})
    assert_error(answer, 400, "one or more keys specified are not found on KME")


def test_the_id_of_somebody_else_s_key_is_refused(
    house: House, asking: Callable[..., httpx.Response]
) -> None:
    house.fill(2)
    one, two = (
        asking("enc-1", "GET", f"{slave}/enc_keys").json()["keys"][0]["key_ID"]
        for slave in ("dec-1", "dec-2")
    )
    assert_error(asking("dec-2", "GET", "enc-1/dec_keys", params={"key_ID": one}), 401, "dec-2")
    mixed = {"key_IDs": [{"key_ID": one}, {"key_ID": two}]}
    assert_error(asking("dec-2", "POST", "enc-1/dec_keys", json=mixed), 401, "dec-2")
    master = asking("enc-1", "GET", "dec-1/dec_keys", params={"key_ID": one})
    assert_error(master, 401, "enc-1")
    of_another = asking("dec-1", "GET", "enc-2/dec_keys", params={"key_ID": one})
    assert_error(of_another, 400, "one or more keys specified are not found on KME")
    for slave, key_id in (("dec-1", one), ("dec-2", two)):
        answer = asking(slave, "GET", "enc-1/dec_keys", params={"key_ID": key_id})
        assert answer.status_code == 200, "who was named still gets it"


@pytest.mark.parametrize("what", ["status", "enc_keys"])
def test_an_unknown_sae_is_a_bad_request(what: str, asking: Callable[..., httpx.Response]) -> None:
    document = assert_error(asking("enc-1", "GET", f"nobody/{what}"), 400, "nobody")
    assert document["details"][-1]["next_step"]


def test_two_saes_of_one_kme_have_no_link(asking: Callable[..., httpx.Response]) -> None:
    for other in ("enc-2", "enc-1"):
        assert_error(asking("enc-1", "GET", f"{other}/enc_keys"), 400, "no QKD link")


@pytest.mark.parametrize("what", ["status", "enc_keys", "dec_keys"])
def test_a_certificate_of_no_sae_here_is_unauthorised(house: House, what: str) -> None:
    strangers = [
        house.bob.saes["dec-1"],  # attached to the other KME
        house.authority.issue(Identity(Role.SAE, "unheard-of")),
        house.authority.issue(Identity(Role.ORCHESTRATOR, "enc-1")),
    ]
    for credentials in strangers:
        with house.alice.http(credentials) as client:
            answer = client.get(f"/api/v1/keys/dec-1/{what}", params={"key_ID": str(uuid4())})
        assert_error(answer, 401, "is no SAE of KME kme-a")


def test_a_certificate_of_another_authority_gets_no_connection(
    house: House, tmp_path: Path
) -> None:
    stranger = Authority.create(tmp_path / "pki").issue(Identity(Role.SAE, "enc-1"))
    with house.alice.http(stranger) as client, pytest.raises(httpx.TransportError):
        client.get("/api/v1/keys/dec-1/status")


def test_an_sae_cannot_speak_as_a_kme(house: House) -> None:
    path = f"/kme/v1/links/{LINK}/allocations/{uuid4()}/withdrawal"
    with house.bob.http(house.bob.saes["dec-1"]) as client:
        assert client.post(path, json={"reason": "x"}).status_code == 403
    other = house.authority.issue(Identity(Role.KME, "kme-c"))
    with house.bob.http(other) as client:
        assert client.post(path, json={"reason": "x"}).status_code == 403


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"size": 257}, "size shall be a multiple of 8"),
        ({"size": 4096}, "size is not one"),
        ({"size": 8}, "size is not one"),
        ({"size": 0}, "size is not one"),
        ({"number": 17}, "number is not one"),
        ({"number": 0}, "number is not one"),
        ({"number": -1}, "number is not one"),
        ({"number": "many"}, "has not the form"),
        ({"number": 1.5}, "has not the form"),
        ({"additional_slave_SAE_IDs": ["dec-2", "x"]}, "more additional_slave_SAE_IDs"),
        ({"additional_slave_SAE_IDs": ["nobody"]}, "nobody"),
        ({"additional_slave_SAE_IDs": "dec-2"}, "has not the form"),
        (
            {"extension_mandatory": [{"abc_route_type": "direct"}]},
            "not all extension_mandatory parameters are supported",
        ),
        ([1], "has not the form"),
    ],
)
def test_a_bad_request_says_what_is_bad_and_takes_nothing(
    house: House, asking: Callable[..., httpx.Response], body: Any, message: str
) -> None:
    house.fill(1)
    before = counts(house)
    assert_error(asking("enc-1", "POST", "dec-1/enc_keys", json=body), 400, message)
    assert counts(house) == before


@pytest.mark.parametrize(
    "query", [{"size": "257"}, {"number": "17"}, {"number": "x"}, {"size": "256.5"}]
)
def test_a_bad_query_is_a_400(query: dict[str, str], asking: Callable[..., httpx.Response]) -> None:
    assert_error(asking("enc-1", "GET", "dec-1/enc_keys", params=query), 400, "")


@pytest.mark.parametrize(
    "body",
    [{}, {"key_IDs": []}, {"key_IDs": [{"key_ID": "no uuid"}]}, {"key_IDs": [{}]}, None, "x"],
)
def test_bad_key_ids_are_a_400(body: Any, asking: Callable[..., httpx.Response]) -> None:
    assert_error(asking("dec-1", "POST", "enc-1/dec_keys", json=body), 400, "has not the form")


def test_unknown_members_and_optional_extensions_are_never_refused(
    house: House, asking: Callable[..., httpx.Response]
) -> None:
    house.fill(1)
    body = {
        "number": 1,
        "extension_optional": [{"def_key_type": "fast"}, {"anything": {"deep": [1, 2]}}],
        "extension_mandatory": [],
        "vendor_member": True,
    }
    assert asking("enc-1", "POST", "dec-1/enc_keys", json=body).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "dec-1/keys"), ("PUT", "dec-1/enc_keys"), ("DELETE", "dec-1/dec_keys"), ("GET", "")],
)
def test_what_the_standard_does_not_know_is_a_400(
    method: str, path: str, asking: Callable[..., httpx.Response]
) -> None:
    assert_error(asking("enc-1", method, path), 400, "no such request")


def test_an_empty_pool_is_a_503_that_says_so(tmp_path: Path) -> None:
    house = build_house(tmp_path)
    house.alice.more = {"limits": {"floor_keys": 2}}
    with house.open():
        for sae, site, other in (("enc-1", house.alice, "dec-1"), ("dec-1", house.bob, "enc-1")):
            with pytest.raises(KmeUnavailableError, match=r"503.*holds 0 keys"):
                site.client(sae).enc_keys(other)
        house.fill(4)
        with pytest.raises(KmeUnavailableError, match="2 stay in reserve"):
            house.alice.client("enc-1").enc_keys("dec-1", number=3)
        assert len(house.alice.client("enc-1").enc_keys("dec-1", number=2)) == 2
        assert house.alice.client("enc-1").status("dec-1").stored_key_count == 0
    for end in counts(house):
        assert end[KeyState.AVAILABLE] == 2
        assert end[KeyState.BURNED] == 0


def test_a_quota_for_each_pair_of_saes(tmp_path: Path) -> None:
    house = build_house(tmp_path)
    house.alice.more = {"limits": {"max_keys_per_minute": 3}}
    house.fill(10)
    with house.open():
        master = house.alice.client("enc-1")
        master.enc_keys("dec-1", number=2)
        with pytest.raises(KmeUnavailableError, match="took 2 of its 3 keys"):
            master.enc_keys("dec-1", number=2)
        assert len(master.enc_keys("dec-1", number=1)) == 1
        assert len(house.alice.client("enc-2").enc_keys("dec-1", number=3)) == 3


def test_saes_apart_are_refused_with_a_word_on_it(tmp_path: Path) -> None:
    house = build_house(tmp_path)
    house.alice.remote["far-1"] = "kme-c"
    document = house.alice.document()
    document["links"].append(
        {
            "name": "alice--bob-2",
            "role": "alice",
            "peer": "kme-c",
            "peer_url": "https://127.0.0.1:9",
        }
    )
    house.alice.more = {"links": document["links"]}
    house.fill(1)
    with house.open(), pytest.raises(KmeRefusedError, match="attached to the same KME"):
        house.alice.client("enc-1").enc_keys("dec-1", additional_slave_saes=["far-1"])


def test_emulated_keys_are_refused_where_the_profile_says_so(tmp_path: Path) -> None:
    house = build_house(tmp_path)
    house.alice.more = {"accept_emulated_keys": False}
    house.fill(2)
    with house.open(), pytest.raises(KmeUnavailableError, match="no photon made"):
        house.alice.client("enc-1").enc_keys("dec-1")
    assert counts(house)[0][KeyState.AVAILABLE] == 2


def test_a_silent_peer_costs_no_keys(tmp_path: Path) -> None:
    house = build_house(tmp_path)
    house.fill(2)
    with served(house.alice.settings), pytest.raises(KmeUnavailableError, match="not reached"):
        house.alice.client("enc-1").enc_keys("dec-1")
    with served(house.bob.settings), pytest.raises(KmeUnavailableError, match="not reached"):
        house.bob.client("dec-1").enc_keys("enc-1")
    for end in counts(house):
        assert end[KeyState.AVAILABLE] == 2


@pytest.mark.parametrize(("master", "slave"), [("enc-1", "dec-1"), ("dec-1", "enc-1")])
def test_what_only_one_end_holds_is_burned_at_both(tmp_path: Path, master: str, slave: str) -> None:
    house = build_house(tmp_path)
    sites = {sae: site for site in (house.alice, house.bob) for sae in site.saes}
    house.fill(3, missing_at_bob=1)
    with house.open():
        with pytest.raises(KmeUnavailableError, match="holds no key"):
            sites[master].client(master).enc_keys(slave, number=3)
        alice, bob = counts(house)
        assert (alice[KeyState.BURNED], alice[KeyState.AVAILABLE]) == (3, 0)
        assert (bob[KeyState.BURNED], bob[KeyState.AVAILABLE]) == (2, 0)
        house.fill(1)
        assert len(sites[master].client(master).enc_keys(slave)) == 1


def test_a_link_that_leads_nowhere_is_refused_at_the_start(tmp_path: Path) -> None:
    house = build_house(tmp_path)
    house.alice.remote["lost-1"] = "kme-z"
    with pytest.raises(ValueError, match="no link leads to: kme-z"):
        _ = house.alice.settings
