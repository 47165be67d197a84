"""A hub on this machine, and its client pointed at it."""

import huggingface_hub.constants
import pytest

from tests.share import fake_hub


@pytest.fixture
def hub(monkeypatch):
    """A hub of the test's own; the client has its token and no other way to send than git-lfs."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", fake_hub.TOKEN)
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    with fake_hub.running() as running:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", running.url)
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", TEMPLATE.format(running.url))
        monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 100_000)
        monkeypatch.setattr("time.sleep", lambda _: None)  # the client waits before it tries again
        yield running


TEMPLATE = "{}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
