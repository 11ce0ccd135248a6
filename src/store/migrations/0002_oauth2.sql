-- Tokens and authorization codes of the oauth2 plugin. Digests are SHA-256 as base64url; what was handed out is kept nowhere.
-- Times are seconds since 1970.

-- Tokens stood among the documents, readable; the plugin never took them from there.
DELETE FROM entity_refs WHERE collection = 'oauth2_tokens';
DELETE FROM entities WHERE collection = 'oauth2_tokens';

CREATE TABLE oauth2_tokens (
    id         TEXT   NOT NULL PRIMARY KEY,
    access     TEXT   NOT NULL UNIQUE,
    refresh    TEXT   UNIQUE,
    credential TEXT   NOT NULL,
    service    TEXT,
    userid     TEXT,
    scope      TEXT,
    created_at BIGINT NOT NULL,
    expires_in BIGINT NOT NULL,
    purge_at   BIGINT,
    -- From when on the row is of no use.
    ends_at    BIGINT,
    code       TEXT
);
CREATE INDEX oauth2_tokens_credential ON oauth2_tokens (credential, id);
CREATE INDEX oauth2_tokens_service ON oauth2_tokens (service, id) WHERE service IS NOT NULL;
CREATE INDEX oauth2_tokens_code ON oauth2_tokens (code) WHERE code IS NOT NULL;
CREATE INDEX oauth2_tokens_end ON oauth2_tokens (ends_at) WHERE ends_at IS NOT NULL;

CREATE TABLE oauth2_codes (
    digest     TEXT   NOT NULL PRIMARY KEY,
    credential TEXT   NOT NULL,
    service    TEXT,
    plugin     TEXT   NOT NULL,
    userid     TEXT,
    scope      TEXT,
    challenge  TEXT,
    expires_at BIGINT NOT NULL
);
CREATE INDEX oauth2_codes_end ON oauth2_codes (expires_at);

-- The one row that whoever ends a token moves first, before it touches a token: it puts all such writes in one order.
CREATE TABLE oauth2_sequence (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    current BIGINT NOT NULL
);
INSERT INTO oauth2_sequence (one, current) VALUES (1, 0);

-- What gateways have to forget: an access token by its digest, or all tokens of a credential or service. Kept for an hour.
CREATE TABLE oauth2_ended (
    sequence BIGINT NOT NULL,
    kind     TEXT   NOT NULL,
    value    TEXT   NOT NULL,
    at       BIGINT NOT NULL,
    PRIMARY KEY (sequence, kind, value)
);
CREATE INDEX oauth2_ended_at ON oauth2_ended (at);
