"""The local Hub's repositories: made, described, listed, branched; commits are taken in ``local_hub_commit``."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode

import local_hub_commit  # noqa: F401  # registers its routes
from local_hub_access import need_token, readable, revision_of, token_of, writable
from local_hub_cards import front_matter
from local_hub_git import ATTRIBUTES, Commit, Entry, Repository, first_attributes
from local_hub_http import Answer, Call, Refusal, route

if TYPE_CHECKING:
    from local_hub import LocalHub

_NAME = re.compile(r"(?!.*(--|\.\.))[\w][\w.-]{0,94}[\w]|[\w]")


def time_text(date: datetime) -> str:
    """A date as the Hub writes it."""
    return date.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def new_repository(hub: LocalHub, kind: str, name: str, **fields: Any) -> Repository:
    """A repository with the Hub's own first commit."""
    repository = hub.repositories[kind, name] = Repository(kind, name, **fields)
    repository.add_commit("refs/heads/main", {ATTRIBUTES: repository.store(first_attributes())}, "initial commit")
    return repository


@route("hub GET", "/api/whoami-v2")
def whoami(call: Call) -> Answer:
    token = need_token(call)
    access: dict[str, Any] = {"displayName": "test", "role": token.role, "createdAt": "2026-01-01T00:00:00.000Z"}
    if token.role == "fineGrained":
        scopes = {"read": ["repo.content.read"], "write": ["repo.content.read", "repo.write"]}
        access["fineGrained"] = {
            "canReadGatedRepos": False, "global": [],
            "scoped": [
                {"entity": {"_id": "1", "type": "model" if "/" in name else "user", "name": name},
                 "permissions": scopes[right]}
                for name, right in token.rights.items()
            ],
        }  # fmt: skip
    orgs = [{"type": "org", "id": name, "name": name, "roleInOrg": "write"} for name in token.orgs]
    found = {"type": "user", "id": token.user, "name": token.user, "fullname": token.user, "orgs": orgs}
    return Answer(body={**found, "isPro": False, "auth": {"type": "access_token", "accessToken": access}})


@route("hub POST", "/api/repos/create")
def create(call: Call) -> Answer:
    token, wanted = need_token(call), call.json()
    kind = f"{wanted.get('type') or 'model'}s"
    owner = wanted.get("organization") or token.user
    name = f"{owner}/{wanted['name']}"
    if kind not in ("models", "datasets") or not _NAME.fullmatch(wanted["name"]):
        raise Refusal(400, f"{wanted['name']!r} is no name for a repository")
    if not token.may(name, write=True):
        raise Refusal(403, f'You don\'t have the rights to create a {kind[:-1]} under the namespace "{owner}"')
    url = f"{call.hub.address}/{'datasets/' if kind == 'datasets' else ''}{name}"
    if (kind, name) in call.hub.repositories:
        raise Refusal(409, f"You already created this {kind[:-1]} repo", url=url)
    private = wanted.get("private") is True or wanted.get("visibility") == "private"
    new_repository(call.hub, kind, name, private=private)
    return Answer(body={"url": url, "name": name, "id": name})


@route("hub DELETE", "/api/repos/delete")
def delete(call: Call) -> Answer:
    token, wanted = need_token(call), call.json()
    key = f"{wanted.get('type') or 'model'}s", f"{wanted.get('organization') or token.user}/{wanted['name']}"
    if key not in call.hub.repositories:
        raise Refusal(404, "Repository not found", "RepoNotFound")
    if not token.may(key[1], write=True):
        raise Refusal(403, "Forbidden: you must use a write token")
    del call.hub.repositories[key]
    return Answer(body={})


@route("hub PUT", "/api/{kind}/{id}/settings")
def settings(call: Call) -> Answer:
    repository, _ = writable(call)
    wanted = call.json()
    if "visibility" in wanted or "private" in wanted:
        repository.private = wanted.get("visibility") == "private" or wanted.get("private") is True
    if "gated" in wanted:
        repository.gated = wanted["gated"] or ""
    return Answer(body={"private": repository.private, "gated": repository.gated or False})


@route("hub GET", "/api/{kind}/{id}/auth-check")
def may_read(call: Call) -> Answer:
    readable(call)
    return Answer(body={})


@route("hub GET", "/api/{kind}/{id}/auth-check/write")
def may_write(call: Call) -> Answer:
    writable(call)
    return Answer(body={})


@route("hub GET", "/api/{kind}/{id}")
@route("hub GET", "/api/{kind}/{id}/revision/{revision}")
def info(call: Call) -> Answer:
    repository = readable(call)
    commit = revision_of(call, repository)
    blobs = call.query.get("blobs", "").lower() == "true"
    card = commit.files.get("README.md")
    data = front_matter(repository.read("README.md", commit.oid).decode("utf-8", "replace")) if card else {}
    found = {
        "_id": "0" * 24, "id": repository.name, "author": repository.owner, "sha": commit.oid,
        "lastModified": time_text(commit.date), "createdAt": time_text(repository.history()[-1].date),
        "private": repository.private, "gated": repository.gated or False, "disabled": False, "downloads": 0,
        "likes": 0, "tags": data.get("tags") or [], "cardData": data,
        "siblings": [_sibling(path, entry, blobs) for path, entry in sorted(commit.files.items())],
    }  # fmt: skip
    for key in ("pipeline_tag", "library_name", "model-index"):
        if key in data:
            found[key] = data[key]
    return Answer(body=found)


def _sibling(path: str, entry: Entry, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": path}
    lfs = {"sha256": entry.sha256, "size": entry.size, "pointerSize": 130} if entry.sha256 else None
    return {"rfilename": path, "size": entry.size, "blobId": entry.blob, **({"lfs": lfs} if lfs else {})}


def _described(path: str, commit: Commit, repository: Repository, expand: bool) -> dict[str, Any]:
    """A file or folder as listings tell of it."""
    last = {"lastCommit": {"id": commit.oid, "title": commit.title, "date": time_text(commit.date)}} if expand else {}
    if path in commit.folders:
        return {"type": "directory", "oid": commit.folders[path], "size": 0, "path": path, **last}
    entry = commit.files[path]
    found = {"type": "file", "oid": entry.blob, "size": entry.size, "path": path, **last}
    if entry.sha256:
        size = len(repository.blobs[entry.blob])
        found["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": size}
    return found


@route("hub GET", "/api/{kind}/{id}/tree/{revision}")
@route("hub GET", "/api/{kind}/{id}/tree/{revision}/{path:path}")
def tree(call: Call) -> Answer:
    repository = readable(call)
    commit = revision_of(call, repository)
    folder = call.parts.get("path", "").strip("/")
    if folder not in commit.folders:
        raise Refusal(404, f'{folder} does not exist on "{call.parts["revision"]}"', "EntryNotFound")
    below = f"{folder}/" if folder else ""
    deep = call.query.get("recursive", "").lower() == "true"
    names = sorted(
        path
        for path in {*commit.files, *commit.folders} - {folder, ""}
        if path.startswith(below) and (deep or "/" not in path.removeprefix(below))
    )
    expand = call.query.get("expand", "").lower() == "true"
    return _page(call, [_described(path, commit, repository, expand) for path in names])


def _page(call: Call, entries: list[dict[str, Any]]) -> Answer:
    """One page of a listing, with the address of the next."""
    start = int(call.query.get("cursor", 0))
    end = start + call.hub.page_size
    headers = {}
    if end < len(entries):
        query = urlencode({**call.query, "cursor": end})
        headers["Link"] = f'<{call.hub.address}{call.request.raw_path}?{query}>; rel="next"'
    return Answer(body=entries[start:end], headers=headers)


@route("hub POST", "/api/{kind}/{id}/paths-info/{revision}")
def paths_info(call: Call) -> Answer:
    repository = readable(call)
    commit = revision_of(call, repository)
    form = parse_qs(call.raw.decode())
    expand = form.get("expand", [""])[-1].lower() == "true"
    names = [path for path in form.get("paths", []) if path in commit.files or path in commit.folders]
    return Answer(body=[_described(path, commit, repository, expand) for path in names])


@route("hub GET", "/api/{kind}/{id}/commits/{revision}")
def commits(call: Call) -> Answer:
    repository = readable(call)
    found = repository.history(revision_of(call, repository).oid)
    return _page(call, [
        {"id": one.oid, "title": one.title, "message": one.description, "date": time_text(one.date),
         "authors": [{"user": one.author}]}
        for one in found
    ])  # fmt: skip


@route("hub GET", "/api/{kind}/{id}/refs")
def refs(call: Call) -> Answer:
    repository = readable(call)

    def of(prefix: str) -> list[dict[str, str]]:
        found = {ref: oid for ref, oid in repository.refs.items() if ref.startswith(prefix)}
        return [{"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": oid} for ref, oid in found.items()]

    listed: dict[str, Any] = {"branches": of("refs/heads/"), "tags": of("refs/tags/"), "converts": []}
    if call.query.get("include_prs") == "1":
        listed["pullRequests"] = [{**one, "name": one["ref"]} for one in of("refs/pr/")]
    return Answer(body=listed)


@route("hub POST", "/api/{kind}/{id}/branch/{branch}")
def create_branch(call: Call) -> Answer:
    repository, _ = writable(call)
    ref = f"refs/heads/{call.parts['branch']}"
    if call.parts["branch"].startswith("refs/"):
        raise Refusal(400, f"Invalid branch name: {call.parts['branch']}")
    if ref in repository.refs:
        raise Refusal(409, f"Reference already exists: {ref}")
    start = (call.json() if call.raw else {}).get("startingPoint")
    repository.refs[ref] = revision_of(call, repository, start or "main").oid
    return Answer(body={})


@route("hub POST", "/api/{kind}/{id}/tag/{revision}")
def create_tag(call: Call) -> Answer:
    repository, _ = writable(call)
    ref = f"refs/tags/{call.json()['tag']}"
    if ref in repository.refs:
        raise Refusal(409, f"Tag reference exists already: {ref}")
    repository.refs[ref] = revision_of(call, repository).oid
    return Answer(body={})


@route("hub DELETE", "/api/{kind}/{id}/branch/{name}")
@route("hub DELETE", "/api/{kind}/{id}/tag/{name}")
def delete_ref(call: Call) -> Answer:
    repository, _ = writable(call)
    space = "tags" if "/tag/" in call.request.path else "heads"
    ref = f"refs/{space}/{call.parts['name']}"
    if ref == "refs/heads/main" or ref not in repository.refs:
        raise Refusal(404 if ref not in repository.refs else 403, f"cannot delete {ref}")
    del repository.refs[ref]
    return Answer(body={})


@route("hub POST", "/api/validate-yaml")
def validate_yaml(call: Call) -> Answer:
    from local_hub_cards import faults_of

    token_of(call)
    errors, warnings = faults_of(call.json()["content"])
    body = {"errors": [{"message": one} for one in errors], "warnings": [{"message": one} for one in warnings]}
    return Answer(400 if errors else 200, body)
