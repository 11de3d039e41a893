"""Every model is pinned: address, size, hash, terms."""

from __future__ import annotations

import re

import pytest

from face3d_cli.weights.registry import model_names, model_spec


@pytest.mark.parametrize("name", model_names())
def test_every_entry_is_complete(name):
    spec = model_spec(name)
    for text in (spec.what, spec.licence, spec.licence_url, spec.paper, spec.preprocessing):
        assert text
        assert "\n" not in text
    for files in (spec.files, spec.sources):
        assert len({file.name for file in files}) == len(files)
    for file in (*spec.files, *spec.sources):
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert "/" not in file.name
        assert (file.size is None) == (spec.origin == "shipped")


@pytest.mark.parametrize("name", model_names())
def test_addresses_are_pinned_to_a_commit_or_a_hash(name):
    for file in model_spec(name).published:
        if file.url:
            assert file.url.startswith("https://")
            assert file.url.endswith("/" + file.name)
            assert re.search(r"/[0-9a-f]{40}/", file.url) or file.sha256[:8] in file.url
