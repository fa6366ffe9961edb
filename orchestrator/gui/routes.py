"""Wires the pages together."""

from __future__ import annotations

from fastapi import APIRouter

from orchestrator.gui.accounts import accounts_page_router
from orchestrator.gui.assets import Assets
from orchestrator.gui.audit import audit_page_router
from orchestrator.gui.data_centres import data_centres_page_router
from orchestrator.gui.deploy import deploy_page_router
from orchestrator.gui.deployments import deployments_page_router
from orchestrator.gui.images import images_page_router
from orchestrator.gui.keys import keys_page_router
from orchestrator.gui.live import live_router
from orchestrator.gui.network import network_page_router
from orchestrator.gui.notices import notices_of
from orchestrator.gui.operations import operations_page_router
from orchestrator.gui.overview import overview_router
from orchestrator.gui.pages import Pages
from orchestrator.gui.rooms import Rooms
from orchestrator.gui.schedule import schedule_page_router
from orchestrator.gui.sign_in import sign_in_router


class Gui:
    """Templates and files of one house, and the routes of all its pages."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._assets = Assets()
        self.pages = Pages(self._assets, rooms.clock, notices=notices_of(rooms.settings))

    def router(self) -> APIRouter:
        rooms, pages = self._rooms, self.pages
        router = APIRouter()
        router.include_router(self._assets.router())
        router.include_router(live_router(rooms.bus, rooms.accounts.sessions))
        router.include_router(sign_in_router(pages))
        router.include_router(overview_router(pages, rooms))
        router.include_router(schedule_page_router(pages, rooms))
        router.include_router(keys_page_router(pages, rooms))
        router.include_router(network_page_router(pages, rooms))
        router.include_router(images_page_router(pages, rooms))
        router.include_router(deploy_page_router(pages, rooms))
        router.include_router(operations_page_router(pages, rooms))
        router.include_router(deployments_page_router(pages, rooms))
        router.include_router(data_centres_page_router(pages, rooms))
        router.include_router(audit_page_router(pages, rooms))
        router.include_router(accounts_page_router(pages, rooms))
        return router
