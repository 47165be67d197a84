"""What this larqldb is made of."""

from __future__ import annotations

from typing import Any

LIBRARIES = ("numpy", "onnx", "tokenizers", "safetensors", "gguf", "sqlglot", "huggingface_hub")


def build_info() -> dict[str, Any]:
    """Versions, SQLite's compile options, sqlite-vec's build flags and ONNX Runtime's providers.

    Keys: larqldb, python, platform, sqlite, sqlite_source, sqlite_compile_options (list), apsw, sqlite_vec,
    sqlite_vec_build, onnxruntime, onnxruntime_providers (list), schema (the newest migration), and the version of each
    library in LIBRARIES.
    """
    import platform
    from importlib import metadata  # 25 ms to import

    import apsw
    import onnxruntime
    import sqlite_vec

    from larqldb import __version__
    from larqldb.storage.migrations import newest

    db = apsw.Connection(":memory:")
    try:
        db.enable_load_extension(True)
        db.load_extension(sqlite_vec.loadable_path())
        vec_version, vec_build = db.execute("SELECT vec_version(), vec_debug()").get
    finally:
        db.close()
    return {
        "larqldb": __version__,
        "schema": newest(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "sqlite": apsw.sqlite_lib_version(),
        "sqlite_source": apsw.sqlite3_sourceid(),
        "sqlite_compile_options": list(apsw.compile_options),
        "apsw": apsw.apsw_version(),
        "sqlite_vec": vec_version,
        "sqlite_vec_build": vec_build,
        "onnxruntime": onnxruntime.__version__,
        "onnxruntime_providers": onnxruntime.get_available_providers(),
        **{name: metadata.version(name) for name in LIBRARIES},
    }
