"""Documents of subscriptions and notifications (ETSI GS NFV-SOL 003 v2.6.1, 5.5.2)."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, SecretStr, StringConstraints, model_validator

from orchestrator.sol003.documents import Document, Link

OCCURRENCE = "VnfLcmOperationOccurrenceNotification"
CREATION = "VnfIdentifierCreationNotification"
DELETION = "VnfIdentifierDeletionNotification"

_MANY = 100
_Name = Annotated[str, StringConstraints(max_length=255)]
NotificationType = Literal[
    "VnfLcmOperationOccurrenceNotification",
    "VnfIdentifierCreationNotification",
    "VnfIdentifierDeletionNotification",
]
_Operation = Literal[
    "INSTANTIATE",
    "SCALE",
    "SCALE_TO_LEVEL",
    "CHANGE_FLAVOUR",
    "TERMINATE",
    "HEAL",
    "OPERATE",
    "CHANGE_EXT_CONN",
    "MODIFY_INFO",
]
_State = Literal[
    "STARTING",
    "PROCESSING",
    "COMPLETED",
    "FAILED_TEMP",
    "FAILED",
    "ROLLING_BACK",
    "ROLLED_BACK",
]


class VnfInstanceSubscriptionFilter(Document):
    vnfd_ids: list[UUID] | None = Field(default=None, max_length=_MANY)
    vnf_instance_ids: list[UUID] | None = Field(default=None, max_length=_MANY)
    vnf_instance_names: list[_Name] | None = Field(default=None, max_length=_MANY)


class LifecycleChangeNotificationsFilter(Document):
    vnf_instance_subscription_filter: VnfInstanceSubscriptionFilter | None = None
    notification_types: list[NotificationType] | None = Field(default=None, max_length=_MANY)
    operation_types: list[_Operation] | None = Field(default=None, max_length=_MANY)
    operation_states: list[_State] | None = Field(default=None, max_length=_MANY)


class BasicParameters(Document):
    user_name: str = Field(min_length=1, max_length=255, pattern=r"^[^:\x00-\x1f]+$")
    password: SecretStr = Field(max_length=1024)


class Oauth2Parameters(Document):
    client_id: str = Field(min_length=1, max_length=255)
    client_password: SecretStr = Field(max_length=1024)
    token_endpoint: str = Field(min_length=1, max_length=1024)


class SubscriptionAuthentication(Document):
    auth_type: list[Literal["BASIC", "OAUTH2_CLIENT_CREDENTIALS"]] = Field(
        min_length=1, max_length=1
    )
    params_basic: BasicParameters | None = None
    params_oauth2_client_credentials: Oauth2Parameters | None = None

    @model_validator(mode="after")
    def _has_what_its_type_needs(self) -> Self:
        given = {
            "BASIC": self.params_basic,
            "OAUTH2_CLIENT_CREDENTIALS": self.params_oauth2_client_credentials,
        }
        if {name for name, params in given.items() if params is not None} != set(self.auth_type):
            raise ValueError(f"authType {self.auth_type[0]} needs its parameters, and no others")
        return self


class LccnSubscriptionRequest(Document):
    filter: LifecycleChangeNotificationsFilter | None = None
    callback_uri: str = Field(min_length=1, max_length=1024)
    authentication: SubscriptionAuthentication | None = None


class SubscriptionLinks(Document):
    self: Link


class LccnSubscription(Document):
    id: UUID
    filter: LifecycleChangeNotificationsFilter | None = None
    callback_uri: str
    links: SubscriptionLinks = Field(alias="_links")
