# Sourced by `run` and `scale`: installs what the load tests need and chooses the gateway's binary.
# Sets $work (everything that is made lands there), $python and PORTCULLIS_BIN.
work="$PWD/target/loadtest"
mkdir -p "$work"

missing=()
command -v wrk >/dev/null || missing+=(wrk)
command -v h2load >/dev/null || missing+=(nghttp2-client)
command -v haproxy >/dev/null || missing+=(haproxy)
command -v nginx >/dev/null || missing+=(nginx-light)
[ -e /usr/lib/nginx/modules/ngx_http_lua_module.so ] || missing+=(libnginx-mod-http-lua lua-resty-core lua-cjson)
if [ ${#missing[@]} -gt 0 ]; then
  as_root=(); [ "$(id -u)" = 0 ] || as_root=(sudo)
  # The packages would start services; they are only wanted as programs.
  policy=/usr/sbin/policy-rc.d
  made=
  [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null; "${as_root[@]}" chmod +x "$policy"; made=1; }
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
  [ -z "$made" ] || "${as_root[@]}" rm -f "$policy"
fi

[ -x "$work/venv/bin/python" ] || python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check -r loadtest/requirements.txt
python="$work/venv/bin/python"

if [ -z "${PORTCULLIS_BIN:-}" ]; then
  cargo build --release --quiet --locked
  PORTCULLIS_BIN="$PWD/target/release/portcullis"
fi
if [ -z "${FLOOR_BIN:-}" ]; then
  cargo build --release --quiet --locked --manifest-path loadtest/floor/Cargo.toml --target-dir "$work/floor"
  FLOOR_BIN="$work/floor/release/floor"
fi
if [ -z "${DRIVER_BIN:-}" ]; then
  cargo build --release --quiet --locked --manifest-path loadtest/driver/Cargo.toml --target-dir "$work/driver"
  DRIVER_BIN="$work/driver/release/driver"
fi
export PORTCULLIS_BIN FLOOR_BIN DRIVER_BIN PYTHONPATH="$PWD/loadtest" PYTHONDONTWRITEBYTECODE=1
