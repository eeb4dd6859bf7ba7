//! Names and passwords of registries, where Docker keeps them.
//!
//! `config.json` is shared with other tools: what is not understood here is kept as it is. Compat: docker, `auths`, `credHelpers`
//! and `credsStore`; the key of `docker.io` is a URL for historical reasons.

mod written;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use miette::Diagnostic;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use shipway_fetch::Stop;

use self::written::Written;
use crate::helper::{Helper, Running, Spawn};

/// Compat: docker.
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// Something that is not to be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the secret, to be sent and not to be shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What one registry knows a person by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Name and password.
    Password {
        /// The name.
        user: String,
        /// The password, or a token in its place.
        password: Secret,
    },
    /// What a token service exchanges for tokens.
    Identity(Secret),
}

/// Why credentials could not be read or kept.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum CredentialsError {
    /// The file cannot be read or written.
    #[error("could not {operation} `{}`", path.display())]
    #[diagnostic(code(registry::credentials), help("see `ls -l {}`", path.display()))]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is not JSON.
    #[error("`{}` is not valid JSON", path.display())]
    #[diagnostic(code(registry::credentials), help("mend it, or move it away and log in again"))]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// An entry of the file cannot be understood.
    #[error("the entry of {registry} in `{}` cannot be read", path.display())]
    #[diagnostic(code(registry::credentials), help("log in again: `shipway login {registry}`"))]
    Entry {
        /// The file.
        path: PathBuf,
        /// Which registry.
        registry: String,
    },
    /// A credential helper failed.
    #[error(
        "the credential helper `docker-credential-{helper}` could not {operation} the credentials of {registry}: {reason}"
    )]
    #[diagnostic(
        code(registry::helper),
        help("see that it is installed, or remove it from `credsStore` and `credHelpers` in config.json")
    )]
    Helper {
        /// The helper.
        helper: String,
        /// What it was asked for.
        operation: &'static str,
        /// For which registry.
        registry: String,
        /// What it said.
        reason: String,
    },
    /// There is no place for the file.
    #[error("there is no home directory to keep credentials in")]
    #[diagnostic(code(registry::credentials), help("set HOME or DOCKER_CONFIG"))]
    NoHome,
}

/// A place in memory for secrets, which other users do not reach. They are gone when the machine restarts.
pub trait Keyring: fmt::Debug + Send + Sync {
    /// Returns a secret; `None` if there is none of that name.
    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Keeps a secret, in the place of one with the same name.
    fn put(&self, name: &str, secret: &[u8]) -> io::Result<()>;
    /// Forgets a secret; returns whether there was one.
    fn erase(&self, name: &str) -> io::Result<bool>;
}

/// Where credentials were kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In memory, until the machine restarts.
    Keyring,
    /// In the file, readable for whoever reads the file.
    File(PathBuf),
    /// With a helper.
    Helper(String),
}

/// Docker's `config.json`.
#[derive(Clone, Debug)]
pub struct CredentialStore {
    path: Option<PathBuf>,
    keyring: Option<Arc<dyn Keyring>>,
    helpers: Running,
}

impl CredentialStore {
    /// Returns the file below `DOCKER_CONFIG`, else below the home directory. It need not exist.
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let dir = variable("DOCKER_CONFIG").or_else(|| Some(variable("HOME")?.join(".docker")));
        let path = dir.map(|dir| dir.join("config.json"));
        Self { path, keyring: None, helpers: Running::default() }
    }

    /// Returns where the file is, or would be; `None` if nothing says where.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Returns a file by its path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: Some(path.into()), keyring: None, helpers: Running::default() }
    }

    /// Keeps secrets in a keyring where the file names no helper.
    #[must_use]
    pub fn with_keyring(self, keyring: Arc<dyn Keyring>) -> Self {
        Self { keyring: Some(keyring), ..self }
    }

    /// Starts helpers in another way.
    #[must_use]
    pub fn with_spawn(mut self, spawn: Spawn) -> Self {
        self.helpers.spawn = spawn;
        self
    }

    /// Lets a stop end helpers.
    pub(crate) fn with_stop(mut self, stop: Stop) -> Self {
        self.helpers.stop = stop;
        self
    }

    /// Returns the helper that keeps the secret of a registry.
    fn helper_of(&self, document: &Map<String, Value>, registry: &str) -> Option<Helper> {
        helper_name(document, registry).map(|name| Helper::named(name, &self.helpers))
    }

    /// Returns what the secret of a registry is called in a keyring: other files have others.
    fn name_of(&self, key: &str) -> String {
        let path = self.path.as_deref().unwrap_or(Path::new(""));
        format!("shipway:{}:{key}", path.display())
    }

    /// Looks into the keyring. One that cannot be asked has nothing.
    fn remembered(&self, key: &str) -> Option<Credentials> {
        let secret = self.keyring.as_ref()?.get(&self.name_of(key)).unwrap_or_else(|error| {
            tracing::debug!(%error, "the keyring cannot be read");
            None
        })?;
        read_entry(&serde_json::from_slice(&secret).ok()?).ok()?
    }

    /// Returns the credentials for a registry, if there are any.
    pub fn get(&self, registry: &str) -> Result<Option<Credentials>, CredentialsError> {
        let Some(path) = &self.path else { return Ok(None) };
        let document = load(path)?;
        let key = key_of(registry);
        if let Some(helper) = self.helper_of(&document, registry) {
            return helper.get(key);
        }
        if let Some(found) = self.remembered(key) {
            return Ok(Some(found));
        }
        let Some(auths) = document.get("auths").and_then(Value::as_object) else { return Ok(None) };
        entry_for(auths, registry).map_or(Ok(None), |entry| {
            read_entry(entry)
                .map_err(|()| CredentialsError::Entry { path: path.clone(), registry: registry.to_owned() })
        })
    }

    /// Keeps the credentials for a registry: with the helper that the file names, else in the keyring, else in the file.
    pub fn put(&self, registry: &str, credentials: &Credentials) -> Result<Kept, CredentialsError> {
        self.put_with(self.keyring.as_deref(), registry, credentials)
    }

    /// Keeps the credentials for a registry as docker does: with the helper that the file names, else in the file.
    pub fn put_in_file(&self, registry: &str, credentials: &Credentials) -> Result<Kept, CredentialsError> {
        if let Some(keyring) = &self.keyring {
            keyring.erase(&self.name_of(key_of(registry))).unwrap_or_default();
        }
        self.put_with(None, registry, credentials)
    }

    fn put_with(
        &self,
        keyring: Option<&dyn Keyring>,
        registry: &str,
        credentials: &Credentials,
    ) -> Result<Kept, CredentialsError> {
        let path = self.path.as_ref().ok_or(CredentialsError::NoHome)?;
        let mut document = load(path)?;
        let key = key_of(registry);
        if let Some(helper) = self.helper_of(&document, registry) {
            helper.put(key, credentials)?;
            // Compat: docker keeps an empty entry, so that listings know of it.
            entry_of(&mut document, key, json!({}));
            save(path, &document)?;
            return Ok(Kept::Helper(helper.name));
        }
        let entry = write_entry(credentials);
        if let Some(keyring) = keyring {
            match keyring.put(&self.name_of(key), entry.to_string().as_bytes()) {
                Ok(()) => {
                    entry_of(&mut document, key, json!({}));
                    save(path, &document)?;
                    return Ok(Kept::Keyring);
                }
                Err(error) => tracing::debug!(%error, "the keyring takes nothing"),
            }
        }
        entry_of(&mut document, key, entry);
        save(path, &document)?;
        Ok(Kept::File(path.clone()))
    }

    /// Forgets the credentials for a registry; returns whether there were any.
    pub fn erase(&self, registry: &str) -> Result<bool, CredentialsError> {
        let path = self.path.as_ref().ok_or(CredentialsError::NoHome)?;
        let mut document = load(path)?;
        let key = key_of(registry);
        let mut found = false;
        if let Some(helper) = self.helper_of(&document, registry) {
            for key in keys_of(&document, registry) {
                if helper.get(&key)?.is_some() {
                    helper.erase(&key)?;
                    found = true;
                }
            }
        }
        if let Some(keyring) = &self.keyring {
            found |= keyring.erase(&self.name_of(key)).unwrap_or_default();
        }
        if let Some(auths) = document.get_mut("auths").and_then(Value::as_object_mut) {
            let before = auths.len();
            auths.retain(|name, _| name != key && registry_of(name) != registry);
            if auths.len() != before {
                found = true;
                save(path, &document)?;
            }
        }
        Ok(found)
    }
}

/// Returns the credentials for a registry that a document such as docker's `config.json` has, or one of the older form, which is its
/// `auths` alone; `None` if it has none that can be read.
pub fn credentials_in(document: &[u8], registry: &str) -> Option<Credentials> {
    let document: Map<String, Value> = serde_json::from_slice(document).ok()?;
    let auths = match document.get("auths") {
        Some(auths) => auths.as_object()?,
        None => &document,
    };
    read_entry(entry_for(auths, registry)?).ok()?
}

fn entry_for<'a>(auths: &'a Map<String, Value>, registry: &str) -> Option<&'a Value> {
    auths
        .get(key_of(registry))
        .or_else(|| auths.iter().find(|(name, _)| registry_of(name) == registry).map(|(_, entry)| entry))
}

/// Returns the keys under which programs may have kept the credentials for a registry. Compat: docker, older ones wrote URLs.
fn keys_of(document: &Map<String, Value>, registry: &str) -> BTreeSet<String> {
    let auths = document.get("auths").and_then(Value::as_object).into_iter().flat_map(Map::keys);
    let mut keys: BTreeSet<String> = auths.filter(|name| registry_of(name) == registry).cloned().collect();
    keys.insert(key_of(registry).to_owned());
    if registry != DOCKER_HUB {
        keys.extend(["http", "https"].map(|scheme| format!("{scheme}://{registry}")));
    }
    keys
}

fn key_of(registry: &str) -> &str {
    if registry == DOCKER_HUB { DOCKER_HUB_KEY } else { registry }
}

/// Returns the registry that a key of `auths` means: old ones are URLs.
fn registry_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_scheme, rest)| rest);
    match rest.split('/').next().unwrap_or_default() {
        "index.docker.io" => DOCKER_HUB,
        host => host,
    }
}

fn helper_name<'a>(document: &'a Map<String, Value>, registry: &str) -> Option<&'a str> {
    let own = document.get("credHelpers").and_then(|helpers| {
        helpers.get(registry).or_else(|| helpers.get(key_of(registry))).and_then(Value::as_str)
    });
    let name = own.or_else(|| document.get("credsStore").and_then(Value::as_str));
    name.filter(|name| !name.is_empty())
}

fn read_entry(entry: &Value) -> Result<Option<Credentials>, ()> {
    let text = |name| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(token) = text("identitytoken") {
        return Ok(Some(Credentials::Identity(Secret::new(token))));
    }
    if let Some(auth) = text("auth") {
        let decoded = base64::engine::general_purpose::STANDARD.decode(auth).map_err(|_not_base64| ())?;
        let decoded = String::from_utf8(decoded).map_err(|_not_text| ())?;
        let (user, password) = decoded.split_once(':').ok_or(())?;
        // Compat: docker, some tools end it with zeros.
        let password = Secret::new(password.trim_end_matches('\0'));
        return Ok(Some(Credentials::Password { user: user.to_owned(), password }));
    }
    Ok(match (text("username"), text("password")) {
        (Some(user), Some(password)) => {
            Some(Credentials::Password { user: user.to_owned(), password: Secret::new(password) })
        }
        _ => None,
    })
}

fn write_entry(credentials: &Credentials) -> Value {
    match credentials {
        Credentials::Password { user, password } => {
            let auth =
                base64::engine::general_purpose::STANDARD.encode(format!("{user}:{}", password.reveal()));
            json!({ "auth": auth })
        }
        Credentials::Identity(token) => json!({ "auth": "", "identitytoken": token.reveal() }),
    }
}

fn entry_of(document: &mut Map<String, Value>, key: &str, entry: Value) {
    let auths = document.entry("auths").or_insert_with(|| json!({}));
    if !auths.is_object() {
        *auths = json!({});
    }
    auths[key] = entry;
}

fn load(path: &Path) -> Result<Map<String, Value>, CredentialsError> {
    let bytes = match fs_err::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
        Err(source) => return Err(CredentialsError::Io { operation: "read", path: path.to_owned(), source }),
    };
    if bytes.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(&bytes).map_err(|source| CredentialsError::Parse { path: path.to_owned(), source })
}

/// Replaces the file, or what it is a link to; only its owner can read the new one.
fn save(path: &Path, document: &Map<String, Value>) -> Result<(), CredentialsError> {
    let fail = |operation| {
        let path = path.to_owned();
        move |source| CredentialsError::Io { operation, path, source }
    };
    let target = fs_err::canonicalize(path).unwrap_or_else(|_not_there| path.to_owned());
    if let Some(dir) = target.parent() {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(fail("make the directory of"))?;
    }
    let before = fs_err::read_to_string(&target).unwrap_or_default();
    let before = serde_json::from_str::<&RawValue>(&before).ok();
    let mut text =
        serde_json::to_vec_pretty(&Written::of_map(document, before)).expect("JSON can be written");
    text.push(b'\n');
    shipway_store::atomic_write(&target, &text, 0o600).map_err(fail("write"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn password(user: &str, password: &str) -> Credentials {
        Credentials::Password { user: user.to_owned(), password: Secret::new(password) }
    }

    #[test]
    fn what_docker_wrote_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let text = r#"{"auths":{
            "https://index.docker.io/v1/":{"auth":"bWU6czplY3JldA=="},
            "quay.io":{"username":"you","password":"pw"},
            "https://old.test/v1/":{"auth":"b2xkOnB3"},
            "id.test":{"auth":"","identitytoken":"tok"},
            "broken.test":{"auth":"?"},
            "empty.test":{}}}"#;
        fs_err::write(&path, text).unwrap();
        let store = CredentialStore::at(path);
        for (registry, want) in [
            ("docker.io", Some(password("me", "s:ecret"))),
            ("quay.io", Some(password("you", "pw"))),
            ("old.test", Some(password("old", "pw"))),
            ("id.test", Some(Credentials::Identity(Secret::new("tok")))),
            ("empty.test", None),
            ("quay.io:443", None),
            ("unknown.test", None),
        ] {
            assert_eq!(store.get(registry).unwrap(), want, "{registry}");
        }
        assert!(matches!(store.get("broken.test"), Err(CredentialsError::Entry { .. })));
    }

    #[test]
    fn a_document_of_either_form_says_who_we_are() {
        let new = br#"{"auths":{"https://index.docker.io/v1/":{"auth":"bWU6czplY3JldA=="}}}"#;
        let old = br#"{"reg.test:5000":{"username":"you","password":"pw"}}"#;
        for (document, registry, want) in [
            (&new[..], "docker.io", Some(password("me", "s:ecret"))),
            (new, "reg.test:5000", None),
            (old, "reg.test:5000", Some(password("you", "pw"))),
            (b"{\"auths\":7}", "reg.test:5000", None),
            (b"nonsense", "reg.test:5000", None),
        ] {
            assert_eq!(credentials_in(document, registry), want, "case {registry}");
        }
    }

    #[test]
    fn logging_in_and_out_leaves_the_rest_of_the_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new").join("config.json");
        let store = CredentialStore::at(&path);
        assert_eq!(store.get("a.test").unwrap(), None);
        assert_eq!(store.put("a.test", &password("me", "pw")).unwrap(), Kept::File(path.clone()));
        assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut document: Value = serde_json::from_slice(&fs_err::read(&path).unwrap()).unwrap();
        document["detachKeys"] = json!("ctrl-x");
        fs_err::write(&path, document.to_string()).unwrap();

        store.put("docker.io", &password("hub", "pw")).unwrap();
        assert_eq!(store.get("a.test").unwrap(), Some(password("me", "pw")));
        assert!(store.erase("a.test").unwrap());
        assert!(!store.erase("a.test").unwrap());
        let document: Value = serde_json::from_slice(&fs_err::read(&path).unwrap()).unwrap();
        assert_eq!(document["detachKeys"], "ctrl-x");
        assert_eq!(document["auths"].as_object().unwrap().keys().collect::<Vec<_>>(), [DOCKER_HUB_KEY]);
    }

    #[test]
    fn what_other_tools_wrote_stays_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let others = "\"x\": 12345678901234567890123, \"y\": {\"z\": 1.50, \"t\": \"\\u0041\"}";
        fs_err::write(&path, format!("{{{others}, \"auths\": {{\"b.test\": {{\"n\": 1e2}}}}}}")).unwrap();
        let store = CredentialStore::at(&path);
        store.put("a.test", &password("me", "pw")).unwrap();
        let text = fs_err::read_to_string(&path).unwrap();
        for part in
            ["12345678901234567890123", "{\"z\": 1.50, \"t\": \"\\u0041\"}", "{\"n\": 1e2}", "\"a.test\": {"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(store.get("a.test").unwrap().is_some() && store.erase("a.test").unwrap());
        assert!(fs_err::read_to_string(&path).unwrap().contains("1.50"));
    }

    #[test]
    fn a_link_to_the_file_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("real.json"), dir.path().join("config.json"));
        fs_err::write(&target, "{}").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        CredentialStore::at(&link).put("a.test", &password("me", "pw")).unwrap();
        assert!(fs_err::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs_err::read_to_string(&target).unwrap().contains("a.test"));
    }

    #[test]
    fn whoever_logs_out_is_known_under_no_spelling_any_more() {
        let document = json!({"auths": {"https://a.test/v1/": {}, "a.test.other": {}, "https://index.docker.io/v1/": {}}});
        let document = document.as_object().unwrap();
        let keys: Vec<String> = keys_of(document, "a.test").into_iter().collect();
        assert_eq!(keys, ["a.test", "http://a.test", "https://a.test", "https://a.test/v1/"]);
        assert_eq!(keys_of(document, DOCKER_HUB), BTreeSet::from([DOCKER_HUB_KEY.to_owned()]));
    }

    #[test]
    fn secrets_are_not_shown() {
        assert!(!format!("{:?}", password("me", "hunter2")).contains("hunter2"));
    }

    #[derive(Debug, Default)]
    struct Memory {
        secrets: std::sync::Mutex<std::collections::HashMap<String, Vec<u8>>>,
        is_closed: bool,
    }

    impl Keyring for Memory {
        fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
            Ok(self.secrets.lock().unwrap().get(name).cloned())
        }

        fn put(&self, name: &str, secret: &[u8]) -> io::Result<()> {
            if self.is_closed {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            self.secrets.lock().unwrap().insert(name.to_owned(), secret.to_owned());
            Ok(())
        }

        fn erase(&self, name: &str) -> io::Result<bool> {
            Ok(self.secrets.lock().unwrap().remove(name).is_some())
        }
    }

    #[test]
    fn a_keyring_keeps_what_would_lie_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let keyring = Arc::new(Memory::default());
        let store = CredentialStore::at(&path).with_keyring(keyring.clone());
        let (one, two) = (password("me", "pw"), Credentials::Identity(Secret::new("token")));
        assert_eq!(store.put("a.test", &one).unwrap(), Kept::Keyring);
        assert_eq!(store.put("b.test", &two).unwrap(), Kept::Keyring);
        assert_eq!(fs_err::read_to_string(&path).unwrap().matches("{}").count(), 2);
        assert_eq!(
            (store.get("a.test").unwrap(), store.get("b.test").unwrap()),
            (Some(one.clone()), Some(two))
        );
        // Another file has its own.
        let other = CredentialStore::at(dir.path().join("other.json")).with_keyring(keyring.clone());
        assert_eq!(other.get("a.test").unwrap(), None);
        assert!(store.erase("b.test").unwrap() && !store.erase("b.test").unwrap());
        // Docker's place wins when it is asked for, also over what was kept before.
        assert_eq!(store.put_in_file("a.test", &password("you", "other")).unwrap(), Kept::File(path.clone()));
        assert_eq!(store.get("a.test").unwrap(), Some(password("you", "other")));
        assert_eq!(keyring.secrets.lock().unwrap().len(), 0);
        let closed = Arc::new(Memory { is_closed: true, ..Memory::default() });
        let store = CredentialStore::at(&path).with_keyring(closed);
        assert_eq!(store.put("c.test", &one).unwrap(), Kept::File(path));
        assert_eq!(store.get("c.test").unwrap(), Some(one));
    }
}
