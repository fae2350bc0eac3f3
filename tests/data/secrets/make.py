#!/usr/bin/env python3
"""Makes secrets.jsonl beside it: fake secrets as people leave them about (label 1), and what only looks like one (label 0).

Texts are base64, so that scanners stay quiet. Everything random comes from one seed. The vendors' own formats are tried by
tests/unit/filter_secrets.c, which makes keys from the table itself; here are places, habits, and above all look-alikes.
"""
import base64
import hashlib
import json
import random
import string
import uuid
from pathlib import Path

rng = random.Random(20)
ALNUM, HEX, B64 = string.ascii_letters + string.digits, "0123456789abcdef", string.ascii_letters + string.digits + "+/"
rows = []


def some(alphabet, n):
    return "".join(rng.choice(alphabet) for _ in range(n))


def key(n=32):
    while True:
        text = some(ALNUM, n)
        if any(c.isdigit() for c in text) and any(c.isupper() for c in text):
            return text


def b64(n):
    return base64.b64encode(rng.randbytes(n)).decode()


def b64url(text):
    return base64.urlsafe_b64encode(text if isinstance(text, bytes) else text.encode()).decode().rstrip("=")


def some_uuid():
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def add(label, kind, *texts):
    for text in texts:
        rows.append({"id": f"own-{len(rows):04}", "kind": kind, "label": label,
                     "text_b64": base64.b64encode(text.encode()).decode()})


def lines(text, n=64):
    return "\n".join(text[i:i + n] for i in range(0, len(text), n))


def positives():
    for _ in range(4):
        add(1, "assignment", f'API_KEY = "{key(32)}"', f"export SERVICE_TOKEN={key(40)}", f"secret_key: {some(HEX, 64)}",
            f'{{"client_secret": "{key(24)}", "scope": "all"}}', f'const apiKey = \'{key(28)}\';',
            f"DB_PASSWORD=Qu!{some(ALNUM, 9)}7",
            f'<add key="ApiSecret" value="{key(30)}" />', f"<password>{key(12)}</password>", f"auth_token => '{some(HEX, 40)}',",
            f"The API key is {key(32)}, keep it.", f"curl -H 'X-Api-Key: {key(36)}' https://api.example.net/v1",
            f"https://api.example.net/v1/list?api_key={key(32)}&page=2", f"setx SIGNING_KEY {key(3)} && set SIGNING_KEY={b64(32)}",
            f"--client-secret {key(40)} --region eu", f"encryption_key: {b64(32)}", f"[auth]\naccess_key = {key(20)}\n")
        add(1, "vendor-name", f"DATADOG_API_KEY={some(HEX, 32)}", f"algolia_admin_key: '{some(HEX, 32)}'",
            f"heroku_api_key = {some_uuid()}", f"aws_secret_access_key = {some(B64, 39)}k", f'"cloudflare_token": "{key(40)}"',
            f"SNYK_TOKEN={some_uuid()}", f"okta.token=00{some(ALNUM, 40)}", f"MISTRAL_API_KEY={key(32)}")
        add(1, "url", f"postgres://app:{key(16)}@db.internal:5432/app", f"redis://:{key(20)}@cache:6379/0",
            f"amqps://svc:{key(24)}@mq.example.net/vhost", f"git+ssh://robot:{key(30)}@git.example.net/a/b.git",
            f"mongodb+srv://svc:{key(14)}@cluster0.ab1cd.mongodb.example/db")
        add(1, "header", f"Authorization: Bearer {key(43)}",
            "Authorization: Basic " + base64.b64encode(f"svc:{key(12)}".encode()).decode(),
            f"curl -u admin:{key(16)} https://ci.example.net", f"Authorization: token {some(HEX, 40)}")
        head, body = b64url('{"typ":"JWT","alg":"RS256"}'), b64url('{"sub":"1","exp":1700000000}')
        add(1, "jwt", f"{head}.{body}.{b64url(rng.randbytes(64))}",
            f'token: "{b64url(chr(123) + chr(34) + "k" + chr(34) + ":1}")}.{body}.x"')
        for label in ("RSA ", "", "EC ", "OPENSSH ", "ENCRYPTED "):
            add(1, "pem", f"-----BEGIN {label}PRIVATE KEY-----\n{lines(b64(300))}\n-----END {label}PRIVATE KEY-----\n")
        add(1, "pem-in-json",
            json.dumps({"private_key": f"-----BEGIN PRIVATE KEY-----\n{lines(b64(400))}\n-----END PRIVATE KEY-----\n"}))


def look_alikes():
    for i in range(6):
        data = rng.randbytes(40)
        sha1, sha256, md5 = hashlib.sha1(data).hexdigest(), hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest()
        sri = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
        add(0, "hash", f"sha256: {sha256}", f"{sha256}  dist/app-{i}.tar.gz", f"MD5 (file) = {md5}", f"checksum = {sha1}",
            f'ETag: "{md5}"', f"digest: sha256:{sha256}", f"The file's SHA-1 is {sha1}.", f'"contentHash": "{sha256}",',
            f"key hash {sha1}",
            f"cache-key: linux-node-{sha256}", f"Docker image alpine@sha256:{sha256}", f"signature {sha256}")
        add(0, "commit", f"commit {sha1}", f"git checkout {sha1[:12]}", f"uses: actions/checkout@{sha1}", f"revision = \"{sha1}\"",
            f"index {sha1[:7]}..{md5[:7]} 100644", f"Merge {sha1[:10]} into main", f"+Subproject commit {sha1}",
            f"see https://git.example/repo/commit/{sha1}")
        add(0, "uuid", f"id: {some_uuid()}", f"request_id={some_uuid()}", f'"user_id": "{some_uuid()}"',
            f"trace {some_uuid()} took 3 ms",
            f"/subscriptions/{some_uuid()}/resourceGroups/rg-{i}", f"urn:uuid:{some_uuid()}", f"key_id: {some_uuid()}")
        add(0, "lock", f'"integrity": "{sri}"', f'  "resolved": "https://registry.example/a-{i}.tgz#{sha1}",',
            f'checksum = "{sha256}"',
            f'    --hash=sha256:{sha256}', f"name = \"token-parser\"\nversion = \"1.{i}.0\"\nchecksum = \"{sha256}\"",
            f'"node_modules/secrets": {{ "version": "1.0.{i}", "integrity": "{sri}" }}',
            f"golang.org/x/crypto v0.1.{i} h1:{b64(32)}")
        png = "iVBORw0KGgoAAAANSUhEUgAA" + b64(200)
        add(0, "image", f'<img src="data:image/png;base64,{png}">', f"background:url(data:image/gif;base64,R0lGODlh{b64(90)})",
            f'"avatar": "{png}"', f'"image": "/9j/4AAQSkZJRgABAQ{b64(120)}"', f'"token_icon": "{png}"',
            f"data:font/woff2;base64,d09GMgAB{b64(150)}")
        add(0, "certificate", f"-----BEGIN CERTIFICATE-----\n{lines('MIID' + b64(300))}\n-----END CERTIFICATE-----",
            f"-----BEGIN PUBLIC KEY-----\n{lines('MFkw' + b64(90))}\n-----END PUBLIC KEY-----",
            f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{b64(32)} me@host",
            f"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ{b64(300)} me@host", f"public_key: {b64(32)}", f"PublicKey = {b64(32)}",
            f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{lines('mQGN' + b64(200))}\n-----END PGP PUBLIC KEY BLOCK-----",
            f"age1{some('023456789acdefghjklmnpqrstuvwxyz', 58)}", f"fingerprint: SHA256:{b64(32)[:43]}",
            f'"certificate": "MIIC{b64(200)}"')
        add(0, "minified",
            f"!function(e,t){{var n=t.token,r=e.key||\"k\";for(var o=0;o<n.length;o++)r+=n[o]^{rng.randrange(9999)}}}(a,b);",
            "var _0x" + some(HEX, 4) + "=['\\x74\\x6f\\x6b\\x65\\x6e'];(function(_0x" + some(HEX, 4) + ",_0x" + some(HEX,
            4) + "){});",
            f".a{some(ALNUM, 5)}{{color:#{some(HEX, 6)};margin:0}}.sk-circle-fade-dot-{i}{{width:1px}}",
            f"chunk-vendors.{md5[:8]}.js",
            f"//# sourceMappingURL=main.{md5[:20]}.js.map",
            f"e.exports={{apiKeyHeader:\"x-api-key\",tokenLength:{i},secretName:\"db-credentials\"}}",
            f"n.d(t,\"a\",(function(){{return r}}));const key=\"ArrowDown\",tokenType=\"Bearer\";a{i}()",
            f"class=\"css-{key(6)}-{key(5)} btn\"")
        add(0, "number", f"tokens: {rng.randrange(10**6)}", f"max_tokens={rng.randrange(4096)}",
            f"api_key_id = {rng.randrange(10**9)}",
            f"timestamp 17{rng.randrange(10**8):08}{i}", f"secret_version: {i}", f"Order key 4{rng.randrange(10**11):011}")
    add(0, "placeholder", "API_KEY=your-api-key-here", "password: changeme", 'api_key = "<your-key>"', "token: ${GITHUB_TOKEN}",
        "apiKey: process.env.API_KEY", 'secret = os.environ["SECRET_KEY"]', "export TOKEN=xxxxxxxxxxxxxxxxxxxxxxxx",
        "password=********",
        "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "sk-your-key-here",
        "OPENAI_API_KEY=sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "Authorization: Bearer <token>", "Authorization: Bearer $ACCESS_TOKEN", "postgres://user:password@localhost:5432/db",
        "postgres://${DB_USER}:${DB_PASS}@db/app", "ftp://<user>:<pass>@example.com", "password: {{ vault_password }}",
        "secret: 12345678901234567890", 'token = "0123456789abcdef0123456789abcdef"', "PASSWORD=%DB_PASSWORD%",
        "--password \"$PASSWORD\"",
        'apikey: "REPLACE_ME_WITH_YOUR_KEY"', "client_secret: INSERT_CLIENT_SECRET", "api_key: null", 'password = ""',
        "token: [REDACTED]",
        "xoxb-your-token-here", "glpat-xxxxxxxxxxxxxxxxxxxx", "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "mysql -u root -p", "redis://:password@localhost", "eyJ... (a JWT)", "secret_key = getenv('SECRET_KEY')")
    add(0, "code", "password = input('Password: ')", "def get_api_key(self): return self._api_key",
        "if token is None: raise ValueError('token required')",
        "const token = await getAccessToken();", "self.password = password_hash",
        "tokenizer = AutoTokenizer.from_pretrained(model_name)",
        "<input type=\"password\" name=\"password\" placeholder=\"Enter your password\">", "$('#password-field').val()",
        "key = sorted(keys)[0]",
        "password_reset_url: /accounts/password/reset", "secretKeyRef: { name: db-credentials, key: password }",
        "PasswordAuthentication no",
        "foreign_key: customer_account_identifier", "primary_key = CompositePrimaryKeyConstraint",
        "auth: AuthenticationProviderInterface",
        "api: internal.service.configuration.v1beta1", "passwordPolicy: minimumLengthTwelveCharacters",
        "token_endpoint: /oauth2/v1/token",
        "ssh-keygen -t ed25519 -C \"comment\"", "access_key_rotation_enabled = true",
        "resource \"aws_secretsmanager_secret\" \"db_password\" {}",
        "import { SecretManagerServiceClient } from '@google-cloud/secret-manager';",
        "keyboard: com.apple.keylayout.US-International",
        "monkey patching the tokenizer of the keyword parser", "std::unordered_map<std::string, TokenType> keyword_tokens_by_name;",
        "public static final String API_KEY_HEADER = \"X-Request-Authentication\";", "vault kv get -field=password secret/data/app")
    add(0, "prose", "Keep your password secret and your API key out of the repository.",
        "The token is valid for 24 hours after the login.",
        "Tokens are split at word borders; a key is what the map is looked up with.",
        "Her secret: she never used a password manager.",
        "The password must have 12 characters, one digit and one sign.",
        "A bearer token is whoever holds it; basic authentication is older.",
        "Use `git log --oneline` to find the commit, then `git show` it.", "What is the difference between sk- and pk- prefixes?",
        "The private key never leaves the device. The file begins with -----BEGIN PRIVATE KEY----- and then comes base64.",
        "Risk-averse desk-sized task-force ask-me-anything mask-related", "Das Passwort lautet wie immer: keines.",
        "ISBN 978-3-16-148410-0, DOI 10.1000/182, RFC 7519 section 4.1",
        "IPv6 2001:0db8:85a3:0000:0000:8a2e:0370:7334 and MAC 00:1B:44:11:3A:B7")


positives()
look_alikes()
Path(__file__).with_name("secrets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
