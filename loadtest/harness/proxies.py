"""The service, the gateway, and the proxies beside it that do the same job."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import urllib.request

from .material import issuer
from .processes import CPUS, LOAD, SUBJECT, Process, free_port, get

HERE = pathlib.Path(__file__).resolve().parents[1]
FLOOR = os.environ.get("FLOOR_BIN", str(HERE.parent / "target/loadtest/floor/release/floor"))
ENVOY = str(pathlib.Path(sys.executable).with_name("envoy"))
GATEWAY = os.environ.get("PORTCULLIS_BIN", str(HERE.parent / "target/release/portcullis"))

NGINX = """
{modules}
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  large_client_header_buffers 4 32k;
  {http}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    {server}
  }}
}}
"""

NGINX_PROXY = """
    location / {{
      {check}
      proxy_pass http://service;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }}
"""

HAPROXY = """
global
    nbthread 1
    maxconn 4000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend clients
    bind 127.0.0.1:{port} backlog 4096
    {more}
{check}
    default_backend service
backend service
    server one 127.0.0.1:{service}
"""

HAPROXY_CHECK = """
    http-request del-header x-consumer-username
    http-request set-var(txn.token) http_auth_bearer
    http-request deny deny_status 401 unless {{ var(txn.token) -m found }}
    http-request deny deny_status 401 unless {{ var(txn.token),jwt_header_query('$.alg') -m str {algorithm} }}
    http-request deny deny_status 401 unless {{ var(txn.token),jwt_payload_query('$.iss') -m str {issuer} }}
    http-request set-var(txn.exp) var(txn.token),jwt_payload_query('$.exp','int')
    http-request set-var(txn.now) date()
    http-request deny deny_status 401 unless {{ var(txn.exp),sub(txn.now) -m int gt 0 }}
    http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify("{algorithm}","{key}") -m int 1 }}
    http-request set-header x-consumer-username %[var(txn.token),jwt_payload_query('$.sub')]
"""


# A signature cache as large as the gateway's, so that tokens seen before are compared with tokens seen before.
ENVOY_CHECK = """
      - name: envoy.filters.http.jwt_authn
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
          providers:
            p:
              issuer: {issuer}
              local_jwks: {{ filename: "{jwks}" }}
              forward: true
              claim_to_headers: [{{ header_name: x-consumer-username, claim_name: sub }}]
              jwt_cache_config: {{ jwt_cache_size: 20000 }}
          rules: [{{ match: {{ prefix: "/" }}, requires: {{ provider_name: p }} }}]
"""

ENVOY_CONFIG = """
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: s
          generate_request_id: false
          route_config: {{ virtual_hosts: [{{ name: v, domains: ["*"], routes: [{{ match: {{ prefix: "/" }}, route: {{ cluster: up }} }}] }}] }}
          http_filters:
{check}
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: up
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: up
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {service} }} }} }} }}] }}]
"""


class Proxy(Process):
    """Something that listens on `port`; `path` is where an algorithm is served."""

    def __init__(self, name, port, command, cpus, folder, env=None):
        super().__init__(command, cpus, folder, env)
        self.name, self.port = name, port

    def url(self, path="/"):
        return f"http://127.0.0.1:{self.port}{path}"

    def wait_until_up(self):
        try:
            self.wait_for(lambda: get(self.url("/open"))[0] in (200, 401), self.name)
        except BaseException:
            self.stop()
            raise
        return self


def nginx(name, folder, cpus, **parts):
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    file = folder / "nginx.conf"
    file.write_text(NGINX.format(folder=folder, port=port, **{"modules": "", "http": "", **parts}))
    return Proxy(name, port, ["nginx", "-p", str(folder), "-c", str(file), "-e", str(folder / "error.log")], cpus, folder)


def lua():
    """What loads nginx's Lua."""
    told = subprocess.run(["nginx", "-V"], capture_output=True, text=True, check=True).stderr
    where = re.search(r"--modules-path=(\S+)", told).group(1)
    return f"load_module {where}/ndk_http_module.so;\nload_module {where}/ngx_http_lua_module.so;"


def service(folder, cpus=None, more="", modules=""):
    """Answers 200 at once, whatever comes; `more` are locations that do something else."""
    server = f'location / {{ return 200 "ok\\n"; }} {more}'
    return nginx("service", folder / "service", cpus or LOAD[-1:], modules=modules, server=server).wait_until_up()


def start_nginx(material, algorithm, service_port, folder):
    http = f"upstream service {{ server 127.0.0.1:{service_port}; keepalive 512; keepalive_requests 1000000000; }}"
    modules = check = ""
    if algorithm != "none":
        modules = lua()
        http += (
            f'\n  lua_package_path "{HERE}/peers/?.lua;;";\n  init_by_lua_block {{ jwt = require "jwt"; jwt.init{{'
            f'algorithm="{algorithm}", issuer="{issuer(algorithm)}", key="{material.key_file(algorithm)}"}} }}'
        )
        check = "access_by_lua_block { jwt.check() }"
    return nginx("nginx", folder / "nginx", SUBJECT, modules=modules, http=http, server=NGINX_PROXY.format(check=check)).wait_until_up()


def start_haproxy(material, algorithm, service_port, folder, more=""):
    """`more`: further lines of the frontend, such as binds."""
    folder = folder / "haproxy"
    folder.mkdir(parents=True, exist_ok=True)
    check = ""
    if algorithm != "none":
        key = material.secret if algorithm == "HS256" else material.key_file(algorithm)
        check = HAPROXY_CHECK.format(algorithm=algorithm, issuer=issuer(algorithm), key=key)
    port = free_port()
    (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port, service=service_port, check=check, more=more))
    return Proxy("haproxy", port, ["haproxy", "-W", "-f", str(folder / "haproxy.cfg")], SUBJECT, folder).wait_until_up()


def start_envoy(material, algorithm, service_port, folder):
    folder = folder / "envoy"
    folder.mkdir(parents=True, exist_ok=True)
    check = ""
    if algorithm != "none":
        check = ENVOY_CHECK.format(issuer=issuer(algorithm), jwks=material.jwks(algorithm)).strip("\n")
        check = "\n".join("    " + line for line in check.splitlines())
    port, file = free_port(), folder / "envoy.yaml"
    file.write_text(ENVOY_CONFIG.format(port=port, service=service_port, check=check))
    command = [ENVOY, "-c", str(file), "--concurrency", "1", "--log-level", "error", "--disable-hot-restart", "--drain-time-s", "5"]
    return Proxy("envoy", port, command, SUBJECT, folder).wait_until_up()


def start_floor(deny, service_port, folder, check=None, cpus=SUBJECT, threads=1):
    """Pingora with nothing on it: `loadtest/floor`; `check`: but a signature of this algorithm to verify for each request."""
    port = free_port()
    env = {"FLOOR_THREADS": str(threads)} | ({"FLOOR_DENY": "1"} if deny else {}) | ({"FLOOR_CHECK": check} if check else {})
    return Floor("floor", port, [FLOOR, str(port), str(service_port)], cpus, folder / "floor", env).wait_until_up()


class Floor(Proxy):
    def checks(self):
        """Seconds that checks took so far, and their number."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/checks", timeout=10) as answer:
            took, count = answer.headers["X-Checks"].split()
        return [int(took) / 1e9, int(count)]


class Gateway(Proxy):
    """The gateway with one declarative file, and its status listener; `also`: listeners beside the plain one."""

    def __init__(self, text, folder, cpus=CPUS, threads="auto", name="kong.json", also=(), **settings):
        folder = folder / "gateway"
        folder.mkdir(parents=True, exist_ok=True)
        self.file, self.status = folder / name, free_port()
        self.configure(text)
        port = free_port()
        # Settings of whoever runs this must not reach the gateway.
        for name in [name for name in os.environ if name.startswith("PORTCULLIS_")]:
            del os.environ[name]
        super().__init__("portcullis", port, [GATEWAY, "run"], cpus, folder, {
            "PORTCULLIS_PREFIX": str(folder),
            "PORTCULLIS_DATABASE": "off",
            "PORTCULLIS_DECLARATIVE_CONFIG": str(self.file),
            "PORTCULLIS_PROXY_LISTEN": ", ".join([f"127.0.0.1:{port}", *also]),
            "PORTCULLIS_ADMIN_LISTEN": "off",
            "PORTCULLIS_ADMIN_GUI_LISTEN": "off",
            "PORTCULLIS_STATUS_LISTEN": f"127.0.0.1:{self.status}",
            "PORTCULLIS_PROXY_ACCESS_LOG": "off",
            "PORTCULLIS_WORKER_THREADS": str(threads),
            **{f"PORTCULLIS_{setting.upper()}": str(value) for setting, value in settings.items()},
        })

    def configure(self, text):
        """Replaces the declarative file at one stroke, as a reload may read it at any time."""
        new = self.file.with_suffix(".new")
        new.write_text(text)
        new.rename(self.file)

    def reload(self):
        os.kill(self.pid, signal.SIGHUP)

    def ready(self, seconds=60.0, step=0.02):
        try:
            self.wait_for(lambda: get(f"http://127.0.0.1:{self.status}/status/ready")[0] == 200, self.name, seconds, step)
        except BaseException:
            self.stop()
            raise
        return self

    def metric(self, series):
        """The value of a series of /metrics; 0 when it is not there."""
        for line in get(f"http://127.0.0.1:{self.status}/metrics")[1].splitlines():
            if line.startswith(series + " "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def reloads(self):
        """Reloads that succeeded and that failed."""
        name = 'portcullis_config_reload_total{{result="{}"}}'
        return self.metric(name.format("success")), self.metric(name.format("failure"))


class Provider(Proxy):
    """The development identity provider of the gateway's own program."""

    def __init__(self, folder, *flags):
        port = free_port()
        command = [GATEWAY, "idp", "--listen", f"127.0.0.1:{port}", "--audience", "loadtest", *flags]
        super().__init__("idp", port, command, LOAD, folder / "idp")
        try:
            self.wait_for(lambda: get(self.url("/counts"))[0] == 200, self.name)
        except BaseException:
            self.stop()
            raise

    def token(self):
        form = b"grant_type=password&username=john&password=doe&client_id=gateway&client_secret=gateway-secret&scope=openid"
        with urllib.request.urlopen(self.url("/token"), data=form, timeout=20) as answer:
            return json.load(answer)["access_token"]

    def count(self, endpoint):
        return json.loads(get(self.url("/counts"))[1]).get(endpoint, 0)
