"""The local Hub's files: large ones taken in one piece or in parts, all of them served whole or by range.

A large file goes past the Hub: it is asked where to (``objects/batch``), the bytes go to the other host by addresses
that are signed (a keyed hash over the path, in the query), and the Hub looks at the end (``verify``). Downloads go the
same way back: ``resolve`` answers with the file's facts and the signed address.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
from collections.abc import Iterable
from math import ceil
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from local_hub_access import check_gate, readable, revision_of, writable
from local_hub_http import Answer, Call, Refusal, route

if TYPE_CHECKING:
    from local_hub import LocalHub

SMALLEST_COMPRESSED = 1024


def signed(hub: LocalHub, address: str, path: str) -> str:
    """An address that says itself that it may be used."""
    signature = hmac.new(hub.signing_key, path.encode(), "sha256").hexdigest()
    return f"{address}{quote(path)}?" + urlencode({"X-Amz-Expires": 3600, "X-Amz-Signature": signature})


def _check_signature(call: Call) -> None:
    right = hmac.new(call.hub.signing_key, call.request.path.encode(), "sha256").hexdigest()
    if call.query.get("X-Amz-Signature") != right:
        raise Refusal(403, "SignatureDoesNotMatch")


@route("hub POST", "/{id}.git/info/lfs/objects/batch")
@route("hub POST", "/datasets/{id}.git/info/lfs/objects/batch")
def batch(call: Call) -> Answer:
    _of_kind(call)
    body = call.json()
    if body.get("operation") != "upload":
        raise Refusal(501, "this stand-in knows uploads only")
    repository, _ = writable(call)
    transfers = body.get("transfers", ["basic"])
    objects = [_where_to(call, repository.large, one, transfers) for one in body["objects"]]
    return Answer(body={"transfer": "multipart" if call.hub.part_bytes else "basic", "objects": objects})


def _of_kind(call: Call) -> None:
    call.parts["kind"] = "datasets" if call.request.path.startswith("/datasets/") else "models"


def _where_to(call: Call, large: dict[str, bytes], wanted: dict[str, Any], transfers: list[str]) -> dict[str, Any]:
    oid, size, hub = wanted["oid"], wanted["size"], call.hub
    if oid in large:
        return {"oid": oid, "size": size}
    place = f"/lfs/{call.parts['kind']}/{call.parts['id']}/{oid}"
    verify = {"href": f"{hub.address}{call.request.path.removesuffix('objects/batch')}verify"}
    upload: dict[str, Any] = {"href": signed(hub, hub.cdn_address, place)}
    if hub.part_bytes and size > hub.part_bytes and "multipart" in transfers:
        parts = {
            f"{number:05}": signed(hub, hub.cdn_address, f"{place}/{number}")
            for number in range(1, ceil(size / hub.part_bytes) + 1)
        }
        upload = {
            "href": signed(hub, hub.address, f"/api/complete_multipart{place}"),
            "header": {"chunk_size": str(hub.part_bytes), **parts},
        }
    return {"oid": oid, "size": size, "authenticated": True, "actions": {"upload": upload, "verify": verify}}


@route("cdn PUT", "/lfs/{kind}/{id}/{oid}")
def take(call: Call) -> Answer:
    _check_signature(call)
    _keep(call, call.raw)
    return Answer(body=b"")


@route("cdn PUT", "/lfs/{kind}/{id}/{oid}/{number}")
def take_part(call: Call) -> Answer:
    _check_signature(call)
    call.hub.parts[call.parts["oid"], int(call.parts["number"])] = call.raw
    return Answer(body=b"", headers={"ETag": f'"{hashlib.md5(call.raw).hexdigest()}"'})


@route("hub POST", "/api/complete_multipart/lfs/{kind}/{id}/{oid}")
def complete(call: Call) -> Answer:
    _check_signature(call)
    data = b""
    for number, part in enumerate(call.json()["parts"], 1):
        piece = call.hub.parts.get((call.parts["oid"], number), b"")
        if part != {"partNumber": number, "etag": f'"{hashlib.md5(piece).hexdigest()}"'}:
            raise Refusal(400, "InvalidPart")
        data += piece
    _keep(call, data)
    return Answer(body={"success": True})


def _keep(call: Call, data: bytes) -> None:
    if hashlib.sha256(data).hexdigest() != call.parts["oid"]:
        raise Refusal(400, "BadDigest: what came is not what was announced")
    call.hub.repositories[call.parts["kind"], call.parts["id"]].large[call.parts["oid"]] = data


@route("hub POST", "/{id}.git/info/lfs/verify")
@route("hub POST", "/datasets/{id}.git/info/lfs/verify")
def verify(call: Call) -> Answer:
    _of_kind(call)
    repository, _ = writable(call)
    wanted = call.json()
    if len(repository.large.get(wanted["oid"], b"")) != wanted["size"]:
        raise Refusal(404, "the object was not uploaded")
    return Answer(body={})


@route("hub GET", "/{id}/resolve/{revision}/{path:path}")
@route("hub GET", "/datasets/{id}/resolve/{revision}/{path:path}")
def resolve(call: Call) -> Answer:
    _of_kind(call)
    repository = readable(call)
    commit = revision_of(call, repository)
    check_gate(call, repository)
    entry = commit.files.get(call.parts["path"])
    headers = {"X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
    if entry is None:
        refusal = Refusal(404, "Entry not found", "EntryNotFound")
        more = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
        return Answer(404, b"Entry not found", {**headers, **more})
    if entry.sha256:
        place = call.hub.cdn_url(f"/cdn/{repository.kind}/{repository.name}/{entry.sha256}")
        more = {"X-Linked-Size": str(entry.size), "X-Linked-ETag": f'"{entry.sha256}"', "Location": place}
        return Answer(302, f"Found. Redirecting to {place}".encode(), {**headers, **more})
    data = repository.blobs[entry.blob]
    headers["ETag"] = f'"{entry.blob}"'
    if call.hub.compress and _takes_gzip(call) and len(data) >= SMALLEST_COMPRESSED:
        packed = gzip.compress(data, mtime=0)
        return Answer(200, _pieces(packed), {**headers, "Content-Encoding": "gzip", "ETag": f'W/"{entry.blob}"'})
    return _ranged(call, data, headers)


def _takes_gzip(call: Call) -> bool:
    return "gzip" in call.request.headers.get("accept-encoding", "") and "range" not in call.request.headers


def _pieces(data: bytes) -> Any:
    """A body without a length, as what is compressed on the way comes."""

    def pieces() -> Iterable[bytes]:
        yield data

    return pieces


@route("cdn GET", "/cdn/{kind}/{id}/{oid}")
def serve(call: Call) -> Answer:
    _check_signature(call)
    data = call.hub.repositories[call.parts["kind"], call.parts["id"]].large[call.parts["oid"]]
    return _ranged(call, data, {"ETag": f'"{hashlib.md5(data).hexdigest()}"', "Accept-Ranges": "bytes"})


def _ranged(call: Call, data: bytes, headers: dict[str, str]) -> Answer:
    """All of it, or the one range that was asked for."""
    wanted = call.request.headers.get("range")
    if not wanted:
        return Answer(200, data, headers)
    first_text, _, last_text = wanted.removeprefix("bytes=").partition("-")
    first = int(first_text) if first_text else max(0, len(data) - int(last_text))
    last = min(int(last_text), len(data) - 1) if first_text and last_text else len(data) - 1
    if first >= len(data) or last < first:
        return Answer(416, b"", {**headers, "Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
    return Answer(206, data[first : last + 1], headers)
