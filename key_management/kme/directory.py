"""Who is where: SAEs of this KME, those at the other ends, and the links that lead there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from key_management.kme.errors import (
    CallerNotKnownError,
    KeyRequestError,
    UnknownKmeLinkError,
    UnknownSaeError,
)
from trust import Identity, Role
from trust.errors import NotAllowedError


@dataclass(frozen=True)
class KmeLink:
    """A QKD link that ends here. `allocates`: this is its end with role `alice`."""

    name: str
    peer: str
    allocates: bool


@dataclass(frozen=True)
class Route:
    """Between an SAE here and SAEs that are all attached to one other KME."""

    local_sae: str
    remote_saes: tuple[str, ...]
    links: tuple[KmeLink, ...]

    @property
    def peer(self) -> str:
        return self.links[0].peer


class Directory:
    """As the settings say; it never changes while the KME runs."""

    def __init__(
        self,
        kme: str,
        local: Mapping[str, Identity],
        remote: Mapping[str, str],
        links: Iterable[KmeLink],
    ) -> None:
        """`local`: SAE id to the name in its certificate; `remote`: SAE id to its KME."""
        self.kme = kme
        self._id_of = {identity: sae for sae, identity in local.items()}
        self._local = frozenset(local)
        self._remote = dict(remote)
        self._links = {link.name: link for link in links}

    @property
    def links(self) -> list[KmeLink]:
        return list(self._links.values())

    def caller(self, identity: Identity | None) -> str:
        """The SAE id that a certificate stands for. Raises CallerNotKnownError."""
        if identity is None or identity not in self._id_of:
            who = identity.dns_name if identity is not None else "This certificate"
            raise CallerNotKnownError(
                f"{who} is no SAE of KME {self.kme}.",
                next_step="Use the certificate of an SAE that is attached to this KME.",
            )
        return self._id_of[identity]

    def attached(self, sae: str) -> bool:
        return sae in self._local

    def route(self, local_sae: str, remote_saes: Iterable[str]) -> Route:
        """How to these SAEs. Raises UnknownSaeError, or KeyRequestError if they are apart."""
        wanted = tuple(dict.fromkeys(remote_saes))
        for sae in wanted:
            if sae in self._local:
                raise KeyRequestError(
                    f"SAE {sae} is attached to KME {self.kme} as {local_sae} is: "
                    "no QKD link lies between them",
                    next_step="Name an SAE at the other end of a link.",
                    faults={sae: f"attached to {self.kme} itself"},
                )
            if sae not in self._remote:
                raise UnknownSaeError(
                    f"SAE {sae} is not known to KME {self.kme}",
                    next_step="Correct the SAE id, or have it added to the settings of this KME.",
                )
        kmes = {self._remote[sae] for sae in wanted}
        if len(kmes) > 1:
            raise KeyRequestError(
                "all slave SAEs of a request must be attached to the same KME",
                next_step="Send one request for the SAEs of each KME.",
                faults={sae: f"attached to {self._remote[sae]}" for sae in wanted},
            )
        peer = kmes.pop()
        links = tuple(link for link in self._links.values() if link.peer == peer)
        return Route(local_sae, wanted, links)

    def link_for(self, caller: Identity, name: str) -> KmeLink:
        """The link, for the KME at its other end alone. NotAllowedError, UnknownKmeLinkError."""
        link = self._links.get(name)
        if link is None:
            raise UnknownKmeLinkError(
                f"No link {name} ends at KME {self.kme}.",
                next_step=f"Use one of: {', '.join(sorted(self._links)) or 'none is configured'}.",
            )
        if caller != Identity(Role.KME, link.peer):
            raise NotAllowedError(
                f"{caller.dns_name} is not at the other end of {name}.",
                next_step="Name it as the link's peer in the settings of this KME.",
            )
        return link
