# environment.sh - sourced: $python becomes an interpreter with the real KerasHub and transformers.
#
# They come from PyPI into FOLDER (the build folder's), once; nothing outside it changes. Where that is
# not possible within three minutes, the test that sources this is skipped, visibly.
# usage: . environment.sh FOLDER

venv=$1
python=$venv/bin/python

skip() {
    echo "skipped: $*"
    exit 77
}

# KerasHub would bring TensorFlow along, which its models and tokenizers of these tests do without.
install_packages() {
    python3 -m venv "$venv" &&
        "$venv/bin/pip" install -q --disable-pip-version-check uv &&
        "$venv/bin/uv" pip install -q --python "$python" keras==3.15.1 transformers==5.24.0 \
            torch==2.15.0 h5py safetensors tokenizers numpy regex rich absl-py packaging kagglehub &&
        "$venv/bin/uv" pip install -q --python "$python" --no-deps keras-hub==0.32.0
}

if [ ! -e "$venv/complete" ]; then
    command -v python3 >/dev/null || skip "there is no python3"
    start=$SECONDS
    rm -rf "$venv"
    export -f install_packages
    export venv python UV_NO_CACHE=1 PIP_NO_CACHE_DIR=1
    if ! timeout 180 bash -c install_packages >install.log 2>&1; then
        rm -rf "$venv"
        skip "KerasHub and transformers cannot be installed from PyPI within 180 s ($(tail -n 1 install.log))"
    fi
    touch "$venv/complete"
    echo "installed KerasHub and transformers in $((SECONDS - start)) s"
fi
