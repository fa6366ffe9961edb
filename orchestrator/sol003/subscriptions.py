"""`/vnflcm/v1/subscriptions`: who wants to be told of what."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from orchestrator.audit.subjects import name_subjects
from orchestrator.sol003 import manners
from orchestrator.sol003.documents import Link
from orchestrator.sol003.notifications.documents import (
    LccnSubscription,
    LccnSubscriptionRequest,
    LifecycleChangeNotificationsFilter,
    SubscriptionLinks,
)
from orchestrator.sol003.notifications.subscriptions import Subscriptions
from orchestrator.sol003.notifications.tables import SubscriptionRow


def subscriptions_router(subscriptions: Subscriptions, *, page: int = manners.PAGE) -> APIRouter:
    router = APIRouter(
        tags=["SOL003 vnflcm"], route_class=manners.Sol003Route, responses=manners.PROBLEMS
    )
    base = "/vnflcm/v1/subscriptions"

    @router.post(base, status_code=201, responses={303: {"description": "It is there already"}})
    def subscribe(request: Request, wanted: LccnSubscriptionRequest) -> Response:
        """The callback is tested; the same subscription again is answered with 303."""
        root = manners.root_of(request)
        row, is_new = subscriptions.subscribe(wanted, root)
        name_subjects(subscription=row.subscription_id)
        document = _document(row, root)
        here = document.links.self.href
        if not is_new:
            return Response(status_code=303, headers={"Location": here})
        return manners.one(document, status_code=201, location=here)

    @router.get(base)
    def query(request: Request) -> JSONResponse:
        root = manners.root_of(request)
        return manners.listed(
            request,
            [_document(row, root) for row in subscriptions.all()],
            LccnSubscription,
            default_excluded=(),
            page=page,
        )

    @router.get(f"{base}/{{subscription_id}}")
    def show(request: Request, subscription_id: UUID) -> JSONResponse:
        row = subscriptions.get(subscription_id)
        return manners.one(_document(row, manners.root_of(request)))

    @router.delete(f"{base}/{{subscription_id}}", status_code=204)
    def unsubscribe(subscription_id: UUID) -> Response:
        subscriptions.delete(subscription_id)
        name_subjects(subscription=subscription_id)
        return Response(status_code=204)

    return router


def _document(row: SubscriptionRow, root: str) -> LccnSubscription:
    here = f"{root}/vnflcm/v1/subscriptions/{row.subscription_id}"
    return LccnSubscription(
        id=row.subscription_id,
        filter=LifecycleChangeNotificationsFilter.model_validate(row.filter)
        if row.filter
        else None,
        callback_uri=row.callback_uri,
        links=SubscriptionLinks(self=Link(href=here)),
    )
