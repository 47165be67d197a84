# Sourced by the scripts beside it: makes .venv in the checkout and installs larqldb there with the extras asked for.
# Needs Python 3.11 or newer with pip; nothing else. Installs again only when pyproject.toml has changed.

root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root" || exit 1

find_python() {
    for name in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if "$name" -c 'import sys, venv, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "No Python 3.11 or newer with pip and venv was found; install one (on Debian: apt install python3-pip python3-venv)" >&2
    return 1
}

# environment [EXTRAS]: afterwards .venv/bin/python runs larqldb with them
environment() {
    extras=${1:-}
    stamp=.venv/installed-$(printf %s "$extras" | tr , -)
    if [ -x .venv/bin/python ] && cmp -s pyproject.toml "$stamp"; then
        return
    fi
    python=$(find_python) || exit 1
    if [ ! -x .venv/bin/python ]; then
        echo "Making a virtual environment in .venv" >&2
        "$python" -m venv --without-pip .venv || exit 1
    fi
    echo "Installing larqldb and what it needs${extras:+ for $extras}; the first time this takes a minute" >&2
    "$python" -m pip --python .venv/bin/python install --quiet --disable-pip-version-check \
        pip --editable ".${extras:+[$extras]}" >&2 || exit 1
    cp pyproject.toml "$stamp"
}
