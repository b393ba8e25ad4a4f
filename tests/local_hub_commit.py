"""How the local Hub takes a commit: which files come how, one NDJSON body, one new state or none."""

from __future__ import annotations

import base64
import json
from pathlib import PurePosixPath
from typing import Any

from local_hub_access import need_token, readable, revision_of, token_of, writable
from local_hub_cards import faults_of
from local_hub_git import ATTRIBUTES, LFS_RULE, LFS_SUFFIXES, Commit, Entry, Repository, is_large
from local_hub_http import Answer, Call, Refusal, route

MOST_REGULAR_BYTES = 10 << 20


def _target(call: Call) -> tuple[Repository, str, bool]:
    """Repository, user and whether a pull request is to be opened: that needs less than the right to write."""
    if call.query.get("create_pr") != "1":
        repository, token = writable(call)
        return repository, token.user, False
    repository, token = readable(call), need_token(call)
    if token.role == "read":
        raise Refusal(403, "Forbidden: you must use a write token to open a pull request.")
    return repository, token.user, True


@route("hub POST", "/api/{kind}/{id}/preupload/{revision}")
def preupload(call: Call) -> Answer:
    repository, _, _ = _target(call)
    commit = revision_of(call, repository)
    body = call.json()
    if len(body["files"]) > 256:
        raise Refusal(413, "too many files at once")
    ignored = [line.strip() for line in body.get("gitIgnore", "").splitlines() if line.strip()]
    return Answer(body={
        "commitOid": commit.oid, "files": [_upload_mode(one, commit, ignored) for one in body["files"]],
    })  # fmt: skip


def _upload_mode(file: dict[str, Any], commit: Commit, ignored: list[str]) -> dict[str, Any]:
    path, entry = file["path"], commit.files.get(file["path"])
    large = is_large(path, base64.b64decode(file.get("sample", "")), file["size"])
    found = {"path": path, "uploadMode": "lfs" if large else "regular"}
    found["shouldIgnore"] = any(PurePosixPath(path).match(pattern) for pattern in ignored)
    return {**found, "oid": entry.sha256 or entry.blob} if entry else found


@route("hub POST", "/api/{kind}/{id}/commit/{revision}")
def commit(call: Call) -> Answer:
    repository, user, pull_request = _target(call)
    lines = [json.loads(line) for line in call.raw.splitlines() if line.strip()]
    header, operations = _parsed(lines)
    parent = header.get("parentCommit")
    base = revision_of(call, repository)
    if parent and parent != base.oid and not pull_request:
        raise Refusal(412, "A commit has happened since. Please refresh and try again.")
    if parent and pull_request:
        base = revision_of(call, repository, parent)
    files = dict(base.files)
    for kind, value in operations:
        _OPERATIONS[kind](repository, files, value)
    _check(repository, files)
    ref = repository.ref_of(call.parts["revision"])
    if pull_request:
        ref = open_discussion(call, repository, user, header["summary"], pull_request=True)
        repository.refs[ref] = base.oid
    elif ref not in repository.refs:
        raise Refusal(404, f"Invalid rev id: {call.parts['revision']}", "RevisionNotFound")
    made = repository.add_commit(ref, files, header["summary"], header.get("description", ""), user)
    place = f"{call.hub.address}/{'datasets/' if repository.kind == 'datasets' else ''}{repository.name}"
    body = {"success": True, "commitOid": made.oid, "commitUrl": f"{place}/commit/{made.oid}", "hookOutput": ""}
    if pull_request:
        body["pullRequestUrl"] = f"{place}/discussions/{ref.rpartition('/')[2]}"
    return Answer(body=body)


def _parsed(lines: list[dict[str, Any]]) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    if not lines or lines[0].get("key") != "header" or not lines[0]["value"].get("summary"):
        raise Refusal(400, '"header" with a summary is required first')
    operations = [(line["key"], line["value"]) for line in lines[1:]]
    for kind, value in operations:
        if kind not in _OPERATIONS:
            raise Refusal(400, f"unknown operation {kind!r}")
        path = value["path"]
        if path.startswith("/") or {"", ".", "..", ".git"} & set(path.rstrip("/").split("/")) or "\\" in path:
            raise Refusal(400, f"invalid path: {path!r}")
    return lines[0]["value"], operations


def _add(repository: Repository, files: dict[str, Entry], value: dict[str, Any]) -> None:
    data = base64.b64decode(value["content"]) if value.get("encoding") == "base64" else value["content"].encode()
    if len(data) > MOST_REGULAR_BYTES or b"\0" in data[:8000]:
        what = "files larger than 10 MiB" if len(data) > MOST_REGULAR_BYTES else "binary files"
        raise Refusal(400, f"Your push was rejected because it contains {what}. Offending files: - {value['path']}")
    files[value["path"]] = repository.store(data)


def _point(repository: Repository, files: dict[str, Entry], value: dict[str, Any]) -> None:
    if value.get("algo") != "sha256" or value["oid"] not in repository.large:
        raise Refusal(400, f"LFS pointer pointed to a file that does not exist: {value['path']}")
    path = value["path"]
    files[path] = repository.point(value["oid"])
    if path.rpartition(".")[2].lower() not in LFS_SUFFIXES:  # Git must hear that this one is large
        rules = repository.blobs[files[ATTRIBUTES].blob] if ATTRIBUTES in files else b""
        line = f"{path.replace(' ', '[[:space:]]')} {LFS_RULE}\n".encode()
        if line not in rules:
            files[ATTRIBUTES] = repository.store(rules + line)


def _delete(_: Repository, files: dict[str, Entry], value: dict[str, Any]) -> None:
    if files.pop(value["path"], None) is None:
        raise Refusal(404, f"A file with this name doesn't exist: {value['path']}", "EntryNotFound")


def _delete_folder(_: Repository, files: dict[str, Entry], value: dict[str, Any]) -> None:
    below = value["path"].rstrip("/") + "/"
    held = [path for path in files if path.startswith(below)]
    if not held:
        raise Refusal(404, f"A folder with this name doesn't exist: {value['path']}", "EntryNotFound")
    for path in held:
        del files[path]


_OPERATIONS = {"file": _add, "lfsFile": _point, "deletedFile": _delete, "deletedFolder": _delete_folder}


def _check(repository: Repository, files: dict[str, Entry]) -> None:
    """What the Hub sees to in every commit: no file is another's folder, the card's front matter is right."""
    for path in files:
        for folder in PurePosixPath(path).parents:
            if str(folder) in files:
                raise Refusal(400, f"{path} lies below {folder}, which is a file")
    card = files.get("README.md")
    if card and not card.sha256:
        errors, _ = faults_of(repository.blobs[card.blob].decode("utf-8", "replace"))
        if errors:
            raise Refusal(400, "Invalid YAML metadata in README.md: " + "; ".join(errors))


def open_discussion(call: Call, repository: Repository, user: str, title: str, pull_request: bool) -> str:
    """Begin a discussion; returns the reference that a pull request has."""
    number = len(repository.discussions) + 1
    repository.discussions.append({
        "num": number, "title": title, "author": user, "status": "draft" if pull_request else "open",
        "isPullRequest": pull_request,
    })  # fmt: skip
    token_of(call)
    return f"refs/pr/{number}"
