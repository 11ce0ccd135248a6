"""What decK asks of an Admin API, in decK's order: pages of 1,000, schemas to fill in defaults, PUT by id with ten requests at
once, an empty second diff. Not decK: a stand-in of a hundred lines for where the program is not to be had. `test_deck.py` runs
the program itself."""

import concurrent.futures
import json
import uuid

import yaml
from conftest import fetch

# What is referred to comes first: decK's order of writes.
STAGES = [["certificates", "consumers"], ["services", "upstreams", "snis", "jwts", "key-auths", "oauth2"], ["routes", "targets"], ["plugins"]]
NAMES = {"consumers": "username", "services": "name", "routes": "name", "upstreams": "name", "jwts": "key", "key-auths": "key"}
SCHEMAS = {"jwts": "jwt_secrets", "key-auths": "keyauth_credentials", "oauth2": "oauth2_credentials"}
NESTED = {"jwts": "jwt", "key-auths": "key-auth", "oauth2": "oauth2"}
# Kinds of Kong's that an installation may lack: 404 is taken for none.
OTHERS = ["consumer_groups", "ca_certificates", "vaults", "keys", "key-sets", "hmac-auths", "basic-auths", "acls", "mtls-auths", "partials",
          "filter-chains", "rbac/roles", "licenses"]


def lean(value):
    """decK takes null for absent, and times and ids for the gateway's business."""
    if isinstance(value, dict):
        return {name: lean(member) for name, member in value.items() if member is not None and name not in ("created_at", "updated_at")}
    return [lean(item) for item in value] if isinstance(value, list) else value


def filled(entity, fields, there):
    """An entity with the defaults of a schema, record by record; what the gateway makes up itself is taken from what is there."""
    out = dict(entity)
    for field in fields:
        (name, schema), = field.items()
        if schema.get("type") == "record":
            inner = filled(out.get(name) or schema.get("default") or {}, schema["fields"], there.get(name) or {})
            if inner or name in out:
                out[name] = inner
        elif out.get(name) is None and "default" in schema:
            out[name] = schema["default"]
        elif out.get(name) is None and schema.get("auto") and name in there:
            out[name] = there[name]
    return out


class DeckCalls:
    def __init__(self, admin):
        self.admin, self.schemas, self.writes = admin.rstrip("/"), {}, 0

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        answer = fetch(self.admin + path, {"Content-Type": "application/json"} if data else {}, method, data)
        return answer.status, json.loads(answer.body) if answer.body else None

    def ping(self):
        status, root = self.ask("GET", "/")
        assert status == 200 and int(root["version"].split(".")[0]) >= 3 and root["configuration"]["database"] != "off", root
        return root["version"]

    def fields(self, kind, plugin=None):
        path = f"/schemas/plugins/{plugin}" if plugin else f"/schemas/{SCHEMAS.get(kind, kind)}"
        if path not in self.schemas:
            status, schema = self.ask("GET", path)
            assert status == 200, path
            self.schemas[path] = schema["fields"]
        return self.schemas[path]

    def listed(self, path, tags):
        found, next_page = [], f"/{path}?size=1000" + (f"&tags={','.join(tags)}" if tags else "")
        while next_page:
            status, page = self.ask("GET", next_page)
            if status == 404:
                return []
            assert status == 200, page
            found += page["data"]
            next_page = page["next"]
        return found

    def state(self, tags=()):
        kinds = [kind for stage in STAGES for kind in stage if kind != "targets"]
        state = {kind: {entity["id"]: entity for entity in self.listed(kind, tags)} for kind in kinds}
        state["targets"] = {
            target["id"]: target for upstream in state["upstreams"] for target in self.listed(f"upstreams/{upstream}/targets", tags)
        }
        for kind in OTHERS:
            assert self.listed(kind, tags) == []
        return state

    def wanted(self, text, current):
        """The entities of a file, each with the id of the one that is there under its name, and with every default."""
        file = yaml.safe_load(text)
        tags = file.get("_info", {}).get("select_tags", [])
        known = {(kind, entity.get(name)): id for kind, name in NAMES.items() for id, entity in current[kind].items()}
        known |= {("plugins", self.place(plugin)): id for id, plugin in current["plugins"].items()}
        known |= {("targets", (target["upstream"]["id"], target["target"])): id for id, target in current["targets"].items()}
        state = {kind: {} for stage in STAGES for kind in stage}

        def take(kind, entity, name, **parents):
            entity = {**entity, **{field: {"id": id} for field, id in parents.items()}}
            key = name if name is not None else self.place(entity)
            entity["id"] = known.get((kind, key)) or str(uuid.uuid4())
            if tags:
                entity["tags"] = sorted({*entity.get("tags", []), *tags}, key=[*entity.get("tags", []), *tags].index)
            there = current[kind].get(entity["id"], {})
            entity = filled(entity, self.fields(kind, entity["name"] if kind == "plugins" else None), there)
            if kind == "plugins":
                # The schema of a plugin speaks of what differs between plugins.
                entity.setdefault("enabled", True)
            state[kind][entity["id"]] = entity
            return entity["id"]

        def children(entity, *names):
            return [entity.pop(name, []) for name in names]

        for consumer in file.get("consumers", []):
            lists = children(consumer, "jwt_secrets", "keyauth_credentials", "plugins")
            owner = take("consumers", consumer, consumer["username"])
            for kind, entities in zip(("jwts", "key-auths"), lists):
                for entity in entities:
                    take(kind, entity, entity["key"], consumer=owner)
            for plugin in lists[2]:
                take("plugins", plugin, None, consumer=owner)
        for service in file.get("services", []):
            routes, plugins = children(service, "routes", "plugins")
            service.update(zip(("protocol", "host", "port", "path"), self.parts(service.pop("url"))) if "url" in service else ())
            owner = take("services", service, service["name"])
            for plugin in plugins:
                take("plugins", plugin, None, service=owner)
            for route in routes:
                of_route, = children(route, "plugins")
                route_id = take("routes", route, route["name"], service=owner)
                for plugin in of_route:
                    take("plugins", plugin, None, route=route_id)
        for upstream in file.get("upstreams", []):
            targets, = children(upstream, "targets")
            owner = take("upstreams", upstream, upstream["name"])
            for target in targets:
                take("targets", target, (owner, target["target"]), upstream=owner)
        for plugin in file.get("plugins", []):
            take("plugins", plugin, None)
        return state, tags

    @staticmethod
    def parts(url):
        from urllib.parse import urlsplit

        split = urlsplit(url)
        return split.scheme, split.hostname, split.port or {"http": 80, "https": 443}[split.scheme], split.path or None

    @staticmethod
    def place(plugin):
        return (plugin["name"], *((plugin.get(of) or {}).get("id") for of in ("route", "service", "consumer")))

    def diff(self, text):
        """Creates, updates and deletes that would make what is there into what the file says."""
        tags = yaml.safe_load(text).get("_info", {}).get("select_tags", [])
        current = self.state(tags)
        wanted, _ = self.wanted(text, current)
        puts = [
            (kind, id, entity) for stage in STAGES for kind in stage for id, entity in wanted[kind].items()
            if lean(entity) != lean(current[kind].get(id, {}))
        ]
        deletes = [(kind, entity) for stage in STAGES for kind in stage for id, entity in current[kind].items() if id not in wanted[kind]]
        return puts, deletes

    def sync(self, text):
        puts, deletes = self.diff(text)
        for stage in reversed(STAGES):
            self.delete([(kind, entity) for kind, entity in deletes if kind in stage])
        for stage in STAGES:
            self.all(self.put, [put for put in puts if put[0] in stage])
        return len(puts), len(deletes)

    def all(self, call, items):
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            list(pool.map(call, items))

    def put(self, item):
        kind, id, entity = item
        path = f"/{kind}/{id}"
        if kind in NESTED:
            path = f"/consumers/{entity['consumer']['id']}/{NESTED[kind]}/{id}"
        if kind == "targets":
            path = f"/upstreams/{entity['upstream']['id']}/targets/{id}"
        status, answer = self.ask("PUT", path, entity)
        assert status == 200, (path, entity, answer)

    def delete(self, items):
        def one(item):
            kind, entity = item
            path = f"/upstreams/{entity['upstream']['id']}/targets" if kind == "targets" else f"/{kind}"
            status, answer = self.ask("DELETE", f"{path}/{entity['id']}")
            # What went with its parent is gone already.
            assert status in (204, 404), answer

        self.all(one, items)

    def validate(self, text):
        """Each entity against the gateway's schema; the messages of those that do not pass."""
        wanted, _ = self.wanted(text, self.state())
        said = []
        for kind, entities in wanted.items():
            for entity in list(entities.values())[:50]:
                status, answer = self.ask("POST", f"/schemas/{SCHEMAS.get(kind, kind)}/validate", entity)
                if status != 200:
                    said.append(answer["message"])
        return said

    def reset(self, tags=()):
        state = self.state(tags)
        for stage in reversed(STAGES):
            self.delete([(kind, entity) for kind in stage for entity in state[kind].values()])

    def dump(self, tags=()):
        """The state as a flat declarative file."""
        state = self.state(tags)
        out = {"_format_version": "3.0"}
        for kind in [kind for stage in STAGES for kind in stage]:
            entities = [lean(entity) for entity in state[kind].values()]
            for entity in entities:
                for of in ("service", "route", "consumer", "upstream"):
                    if isinstance(entity.get(of), dict):
                        entity[of] = entity[of]["id"]
            if entities:
                out[SCHEMAS.get(kind, kind)] = entities
        return yaml.safe_dump(out)
