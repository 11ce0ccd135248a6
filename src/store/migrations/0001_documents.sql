-- One text for SQLite and PostgreSQL. Ids are lower-case UUIDs, documents JSON; times are milliseconds since 1970.

-- The one row that every write moves: it puts all writes in one order, so that a reader of the changes misses none.
CREATE TABLE revision (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    current BIGINT NOT NULL
);
INSERT INTO revision (one, current) VALUES (1, 0);

CREATE TABLE entities (
    collection TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    document   TEXT   NOT NULL,
    revision   BIGINT NOT NULL,
    expires_at BIGINT,
    PRIMARY KEY (collection, id)
);
CREATE INDEX entities_expiry ON entities (expires_at) WHERE expires_at IS NOT NULL;

-- Values that only one document of a collection may have: names, keys, cache keys.
CREATE TABLE entity_keys (
    collection TEXT NOT NULL,
    name       TEXT NOT NULL,
    value      TEXT NOT NULL,
    id         TEXT NOT NULL,
    PRIMARY KEY (collection, name, value),
    FOREIGN KEY (collection, id) REFERENCES entities (collection, id) ON DELETE CASCADE
);
CREATE INDEX entity_keys_owner ON entity_keys (collection, id);

-- What a document refers to. No ON DELETE towards the parent: deleting children is a change of its own and written down as one.
CREATE TABLE entity_refs (
    collection        TEXT    NOT NULL,
    id                TEXT    NOT NULL,
    field             TEXT    NOT NULL,
    parent_collection TEXT    NOT NULL,
    parent_id         TEXT    NOT NULL,
    restricts         INTEGER NOT NULL,
    PRIMARY KEY (collection, id, field),
    FOREIGN KEY (collection, id) REFERENCES entities (collection, id) ON DELETE CASCADE,
    FOREIGN KEY (parent_collection, parent_id) REFERENCES entities (collection, id)
);
CREATE INDEX entity_refs_parent ON entity_refs (parent_collection, parent_id, collection, field, id);

CREATE TABLE entity_tags (
    collection TEXT NOT NULL,
    tag        TEXT NOT NULL,
    id         TEXT NOT NULL,
    PRIMARY KEY (collection, tag, id),
    FOREIGN KEY (collection, id) REFERENCES entities (collection, id) ON DELETE CASCADE
);
CREATE INDEX entity_tags_owner ON entity_tags (collection, id);
CREATE INDEX entity_tags_tag ON entity_tags (tag, collection, id);

-- What gateways follow. Old rows are cleared away; a gateway further behind than the oldest loads everything anew.
CREATE TABLE changes (
    revision   BIGINT  NOT NULL,
    collection TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    deleted    INTEGER NOT NULL,
    PRIMARY KEY (revision, collection, id)
);
