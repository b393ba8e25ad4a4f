"""The local Hub's discussions, pull requests and collections."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import Any

from local_hub_access import need_token, readable, token_of, writable
from local_hub_commit import open_discussion
from local_hub_git import Repository
from local_hub_http import Answer, Call, Refusal, route

CREATED = "2026-01-01T00:00:00.000Z"


def _told(repository: Repository, one: dict[str, Any]) -> dict[str, Any]:
    repo = {"name": repository.name, "type": repository.kind[:-1]}
    found = {**one, "author": {"name": one["author"]}, "createdAt": CREATED, "repo": repo}
    if one["isPullRequest"]:
        changes = {"base": "refs/heads/main", "mergeCommitId": one.get("merge")}
        found |= {"changes": changes, "filesWithConflicts": [], "diff": ""}
    return {**found, "events": []}


def _discussion(call: Call, repository: Repository) -> dict[str, Any]:
    number = int(call.parts["number"])
    if not 1 <= number <= len(repository.discussions):
        raise Refusal(404, "Discussion not found")
    return repository.discussions[number - 1]


@route("hub GET", "/api/{kind}/{id}/discussions")
def discussions(call: Call) -> Answer:
    repository = readable(call)
    wanted = {"type": call.query.get("type", "all"), "status": call.query.get("status", "all")}
    found = [
        _told(repository, one)
        for one in repository.discussions
        if wanted["type"] in ("all", "pull_request" if one["isPullRequest"] else "discussion")
        and (wanted["status"] == "all" or (wanted["status"] == "open") == (one["status"] in ("open", "draft")))
        and call.query.get("author") in (None, one["author"])
    ]
    return Answer(body={"discussions": found, "count": len(found), "start": 0})


@route("hub POST", "/api/{kind}/{id}/discussions")
def begin(call: Call) -> Answer:
    repository, token, wanted = readable(call), need_token(call), call.json()
    if token.role == "read":
        raise Refusal(403, "Forbidden: you must use a write token.")
    ref = open_discussion(call, repository, token.user, wanted["title"], bool(wanted.get("pullRequest")))
    if wanted.get("pullRequest"):
        repository.refs[ref] = repository.refs["refs/heads/main"]
    return Answer(body={"num": len(repository.discussions), "pullRequest": bool(wanted.get("pullRequest"))})


@route("hub GET", "/api/{kind}/{id}/discussions/{number}")
def discussion(call: Call) -> Answer:
    repository = readable(call)
    return Answer(body=_told(repository, _discussion(call, repository)))


@route("hub POST", "/api/{kind}/{id}/discussions/{number}/status")
def status(call: Call) -> Answer:
    repository, token = writable(call)
    one = _discussion(call, repository)
    one["status"] = call.json()["status"]
    event = {"id": secrets.token_hex(12), "type": "status-change", "createdAt": CREATED}
    return Answer(body={"newStatus": {**event, "author": {"name": token.user}, "data": {"status": one["status"]}}})


@route("hub POST", "/api/{kind}/{id}/discussions/{number}/merge")
def merge(call: Call) -> Answer:
    repository, token = writable(call)
    one = _discussion(call, repository)
    ref = f"refs/pr/{one['num']}"
    changed = repository.commits[repository.refs[ref]]
    base = repository.history(ref)[-1] if not changed.parents else repository.commits[changed.parents[0]]
    files = dict(repository.commits[repository.refs["refs/heads/main"]].files)
    for path in {*changed.files, *base.files}:
        if changed.files.get(path) != base.files.get(path):
            files.pop(path, None)
            if path in changed.files:
                files[path] = changed.files[path]
    made = repository.add_commit("refs/heads/main", files, f"{one['title']} (#{one['num']})", author=token.user)
    one["status"], one["merge"] = "merged", made.oid
    return Answer(body={})


def _collection(call: Call, write: bool = False) -> dict[str, Any]:
    found = call.hub.collections.get(f"{call.parts['owner']}/{call.parts['slug']}")
    token = need_token(call) if write else token_of(call)
    mine = found is not None and token is not None and token.may(found["namespace"], write)
    if found is None or (found["private"] and not mine):
        raise Refusal(404, "Collection not found")
    if write and not mine:
        raise Refusal(403, "Forbidden: you must use a write token.")
    return found


def _shown(found: dict[str, Any], most: int | None = None) -> dict[str, Any]:
    owner = {"name": found["namespace"], "type": "user"}
    items = [{**item, "position": number} for number, item in enumerate(found["items"])]
    times = {"lastUpdated": datetime.now(UTC).isoformat().replace("+00:00", "Z")}
    return {**found, "owner": owner, "items": items[:most], "position": 0, "theme": "green", "upvotes": 0, **times}


@route("hub POST", "/api/collections")
def new_collection(call: Call) -> Answer:
    token, wanted = need_token(call), call.json()
    space = wanted["namespace"]
    if not token.may(f"{space}/collections", write=True):
        raise Refusal(403, f'You don\'t have the rights to create a collection under the namespace "{space}"')
    if not wanted.get("title") or len(wanted["title"]) > 60 or len(wanted.get("description") or "") > 150:
        raise Refusal(400, "a title has 1 to 60 characters, a description at most 150")
    for slug, one in call.hub.collections.items():
        if one["namespace"] == space and one["title"] == wanted["title"]:
            raise Refusal(409, "You already created a collection of this title", slug=slug)
    plain = re.sub(r"[^a-z0-9]+", "-", wanted["title"].lower()).strip("-")
    slug = f"{space}/{plain}-{secrets.token_hex(12)}"
    kept = {key: wanted.get(key) for key in ("title", "description")}
    found = {**kept, "slug": slug, "namespace": space, "private": bool(wanted.get("private")), "items": []}
    call.hub.collections[slug] = found
    return Answer(body=_shown(found))


@route("hub GET", "/api/collections")
def list_collections(call: Call) -> Answer:
    token, owner, item = token_of(call), call.query.get("owner"), call.query.get("item")
    found = [
        {key: value for key, value in _shown(one, 4).items() if key != "position"}
        for one in call.hub.collections.values()
        if owner in (None, one["namespace"])
        and (item is None or any(item == f"{held['type']}s/{held['id']}" for held in one["items"]))
        and (not one["private"] or (token and token.may(one["namespace"], write=False)))
    ]
    return Answer(body=found)


@route("hub GET", "/api/collections/{owner}/{slug}")
def collection(call: Call) -> Answer:
    return Answer(body=_shown(_collection(call)))


@route("hub PATCH", "/api/collections/{owner}/{slug}")
def change_collection(call: Call) -> Answer:
    found = _collection(call, write=True)
    found.update({key: value for key, value in call.json().items() if key in ("title", "description", "private")})
    return Answer(body={"data": _shown(found)})


@route("hub DELETE", "/api/collections/{owner}/{slug}")
def delete_collection(call: Call) -> Answer:
    del call.hub.collections[_collection(call, write=True)["slug"]]
    return Answer(body={})


@route("hub POST", "/api/collections/{owner}/{slug}/items")
def add_item(call: Call) -> Answer:
    found, wanted = _collection(call, write=True), call.json()
    item = wanted["item"]
    if item["type"] in ("model", "dataset") and (f"{item['type']}s", item["id"]) not in call.hub.repositories:
        raise Refusal(404, f"{item['id']} does not exist")
    if any((held["type"], held["id"]) == (item["type"], item["id"]) for held in found["items"]):
        raise Refusal(409, "This item is in the collection already")
    note = {"text": wanted["note"], "html": wanted["note"]} if wanted.get("note") else None
    found["items"].append({"_id": secrets.token_hex(12), **item, **({"note": note} if note else {})})
    return Answer(body=_shown(found))


@route("hub PATCH", "/api/collections/{owner}/{slug}/items/{item}")
@route("hub DELETE", "/api/collections/{owner}/{slug}/items/{item}")
def change_item(call: Call) -> Answer:
    found = _collection(call, write=True)
    item = next((one for one in found["items"] if one["_id"] == call.parts["item"]), None)
    if item is None:
        raise Refusal(404, "Item not found")
    found["items"].remove(item)
    if call.request.method == "PATCH":
        wanted = call.json()
        if "note" in wanted:
            item["note"] = {"text": wanted["note"], "html": wanted["note"]}
        found["items"].insert(wanted.get("position", len(found["items"])), item)
    return Answer(body={})
