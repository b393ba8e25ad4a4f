"""A Hub collection that holds the repositories of one model: found by its title, made when there is none.

A collection groups repositories under one address, and is how the Hub's users find the other quantizations of a model
(huggingface.co/docs/hub/collections). A title is no identifier there, so the one to use is looked for among those of
the owner; a repository that it holds already is not added again.

    collect(HfApi(), "SQLCoder nano", ["me/nano-int8", "me/nano-gguf"], private=True)   # address of the collection
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def collect(api: HfApi, title: str, repositories: Sequence[str], private: bool) -> tuple[str, list[str]]:
    """See that a collection of this title holds these repositories.

    Args:
        api: the Hub's client.
        title: of the collection.
        repositories: ``owner/name``, all of one owner, who also owns the collection.
        private: whether a collection that is made is only seen by those who may.

    Returns:
        Its address, and the repositories that were added.

    Raises:
        OSError, huggingface_hub.errors.HTTPError: the Hub refuses.
    """
    owner = repositories[0].partition("/")[0]
    found = next((one for one in api.list_collections(owner=owner) if one.title == title), None)
    if found is None:
        found = api.create_collection(title, namespace=owner, private=private, exists_ok=True)
    held = {item.item_id for item in api.get_collection(found.slug).items if item.item_type == "model"}
    added = [name for name in repositories if name not in held]
    for name in added:
        api.add_collection_item(found.slug, name, "model", exists_ok=True)
    return f"{api.endpoint}/collections/{found.slug}", added
