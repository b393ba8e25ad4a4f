"""Who may do what on the local Hub: tokens, and the refusals the Hub gives to those who may not.

The Hub does not say whether a private repository exists: who may not see it hears what is said of one that is not
there, 401 without a token and 404 with one. A token that is none is refused even where none is needed.
"""

from dataclasses import dataclass, field

from local_hub_git import Commit, Repository
from local_hub_http import Call, Refusal


@dataclass(frozen=True)
class Token:
    """A token: whose, and what it may; see ``LocalHub.add_token``."""

    value: str
    user: str
    role: str
    orgs: tuple[str, ...] = ()
    rights: dict[str, str] = field(default_factory=dict)

    def may(self, name: str, write: bool) -> bool:
        """Whether it may read or write a repository of its user's or organizations' own."""
        owner = name.partition("/")[0]
        if owner != self.user and owner not in self.orgs:
            return False
        if self.role == "fineGrained":
            right = self.rights.get(name, self.rights.get(owner, ""))
            return right == "write" or (right == "read" and not write)
        return not write or self.role == "write"


def token_of(call: Call) -> Token | None:
    """The token of a request; ``None`` where it brings none."""
    value = call.request.token
    if value is None:
        return None
    if value not in call.hub.tokens:
        raise Refusal(401, "Invalid credentials in Authorization header")
    return call.hub.tokens[value]


def need_token(call: Call) -> Token:
    """The token of a request that needs one."""
    token = token_of(call)
    if token is None:
        raise Refusal(401, "Invalid username or password.")
    return token


def readable(call: Call, name: str | None = None) -> Repository:
    """The repository a request speaks of, if it may be seen."""
    token = token_of(call)
    found = call.hub.repositories.get((call.parts.get("kind", "models"), name or call.parts["id"]))
    if found is None or (found.private and not (token and token.may(found.name, write=False))):
        raise Refusal(404 if token else 401, "Repository not found", "RepoNotFound")
    return found


def writable(call: Call) -> tuple[Repository, Token]:
    """The repository a request wants to change, if it may."""
    repository = readable(call)
    token = need_token(call)
    if not token.may(repository.name, write=True):
        raise Refusal(403, "Forbidden: you must use a write token to upload to a repository.")
    return repository, token


def revision_of(call: Call, repository: Repository, revision: str | None = None) -> Commit:
    """The commit a request speaks of."""
    wanted = revision or call.parts.get("revision") or "main"
    commit = repository.resolve(wanted)
    if commit is None:
        raise Refusal(404, f"Invalid rev id: {wanted}", "RevisionNotFound")
    return commit


def check_gate(call: Call, repository: Repository) -> None:
    """See that a gated repository's files may be handed out."""
    token = token_of(call)
    if not repository.gated:
        return
    if token and (token.user in repository.readers or token.may(repository.name, write=False)):
        return
    raise Refusal(
        403 if token else 401,
        f"Access to model {repository.name} is restricted and you are not in the authorized list.",
        "GatedRepo",
    )
