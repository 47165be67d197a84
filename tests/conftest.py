"""Models that tests share: small random ones made on the spot, and the real ones, fetched once into the user's cache.

Extracted real models are kept in the cache too, under a key made from the code that writes them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import write_tiny

ROOT = Path(__file__).resolve().parents[1]
# The code that what extraction writes depends on.
WRITERS = (
    *("larqldb/extract/**/*.py", "migrations/*.sql"),
    *(f"larqldb/storage/{name}.py" for name in ("checksums", "database", "new_file", "seal", "tensors")),
    *(f"larqldb/model/{name}.py" for name in ("architectures", "config", "dtypes", "network", "tokenizer")),
)


@pytest.fixture(scope="session")
def cache() -> Path:
    """larqldb's folder in the user's cache."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "larqldb"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fetch(*arguments: str) -> Path:
    """The path that ``tools/fetch_model`` prints."""
    command = [sys.executable, str(ROOT / "tools" / "fetch_model"), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    return fetch("smollm2")


@pytest.fixture(scope="session")
def gemma3_gguf() -> Path:
    return fetch("gemma3")


@pytest.fixture(scope="session")
def smollm2_hf() -> Path:
    return fetch("smollm2", "--as", "safetensors")


@pytest.fixture(scope="session")
def extracted(cache: Path) -> Path:
    """A folder for vindexes that this state of the code wrote; those of other states are removed."""
    key = hashlib.sha256(sys.version.encode())
    for pattern in WRITERS:
        for file in sorted(ROOT.glob(pattern)):
            key.update(file.read_bytes())
    own = cache / "extracted" / key.hexdigest()[:16]
    own.mkdir(parents=True, exist_ok=True)
    for other in own.parent.iterdir():
        if other != own:
            shutil.rmtree(other, ignore_errors=True)
    return own


def extract_once(source: Path, path: Path) -> Path:
    """Extract in a process of its own: this one shall not keep what that took."""
    if not path.exists():
        code = "import sys, larqldb; larqldb.extract(sys.argv[1], sys.argv[2])"
        subprocess.run([sys.executable, "-c", code, str(source), str(path)], check=True, cwd=ROOT)
    return path


@pytest.fixture(scope="session")
def smollm2_vindex(smollm2_gguf: Path, extracted: Path) -> Path:
    """SmolLM2-135M-Instruct, level all, float16; not to be written to."""
    return extract_once(smollm2_gguf, extracted / "smollm2.vindex")


@pytest.fixture(scope="session")
def gemma3_vindex(gemma3_gguf: Path, extracted: Path) -> Path:
    """Gemma 3 270M, level all, float16; not to be written to."""
    return extract_once(gemma3_gguf, extracted / "gemma3.vindex")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face directory with a random Llama of odd sizes and a byte-level tokenizer."""
    return write_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def tiny_extracted(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model extracted; not to be written to."""
    import larqldb

    path = tmp_path_factory.mktemp("tiny") / "tiny.vindex"
    larqldb.extract(tiny_model, path)
    return path


@pytest.fixture
def tiny_vindex(tiny_extracted: Path, tmp_path: Path) -> Path:
    """A copy of the tiny vindex of the test's own."""
    return Path(shutil.copy(tiny_extracted, tmp_path / "tiny.vindex"))
