"""Onboarding states of a VNF package."""

from __future__ import annotations

from enum import StrEnum


class OnboardingState(StrEnum):
    CREATED = "CREATED"
    UPLOADING = "UPLOADING"
    PROCESSING = "PROCESSING"
    ONBOARDED = "ONBOARDED"


ONBOARDING_MEANING: dict[OnboardingState, str] = {
    OnboardingState.CREATED: "it has no content yet, or what came could not be onboarded",
    OnboardingState.UPLOADING: "its content comes",
    OnboardingState.PROCESSING: "its content is here and being checked",
    OnboardingState.ONBOARDED: "its VNFD and image can be used",
}
