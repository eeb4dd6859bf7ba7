//! What a request asks for: kind, object, subresource, options, form of the answer.

use http::{HeaderMap, Method, header};

use crate::{Identity, Kind, Status, kind_of};

/// A parsed request to a resource.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Kind of the main resource.
    pub kind: &'static Kind,
    /// Namespace, if the path names one.
    pub namespace: Option<String>,
    /// Object, if the path names one.
    pub name: Option<String>,
    /// Subresource, if the path names one.
    pub subresource: Option<String>,
    /// Query.
    pub query: Query,
    /// Who asks.
    pub identity: Identity,
    /// Form of the answer.
    pub form: Form,
    /// `User-Agent`, for field managers.
    pub agent: String,
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Form {
    /// The objects themselves.
    #[default]
    Object,
    /// `metav1.Table`.
    Table,
    /// `metav1.PartialObjectMetadata`, or its list.
    Metadata,
}

/// A decoded query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes a query; empty parts are skipped.
    pub(crate) fn parse(text: &str) -> Self {
        let text = text.trim_start_matches('?');
        let pairs = text.split('&').filter(|part| !part.is_empty()).map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(&key.replace('+', " ")), decode(&value.replace('+', " ")))
        });
        Self(pairs.collect())
    }

    /// Returns the first value of `key`; empty if there is none.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.0.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v)
    }

    /// Returns all values of `key`.
    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Whether `key` is there, with or without a value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(k, _)| k == key)
    }

    /// Whether `key` is true.
    pub(crate) fn is_true(&self, key: &str) -> bool {
        matches!(self.get(key), "true" | "1")
    }
}

/// Decodes percent escapes; malformed ones stay as they are.
pub(crate) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let Some(byte) = escaped {
            out.push(byte);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The resource part of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: Option<String>,
    pub(crate) plural: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
    /// Segments after the subresource (proxy paths).
    pub(crate) rest: String,
}

impl Target {
    /// Parses `/api/v1/…` and `/apis/GROUP/VERSION/…`; `None` for anything else.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let mut segments: Vec<String> = path.trim_start_matches('/').split('/').map(decode).collect();
        if segments.last().is_some_and(String::is_empty) {
            segments.pop();
        }
        if segments.iter().any(|s| s.is_empty() || s == "." || s == ".." || s.contains(['/', '\0'])) {
            return None;
        }
        let mut parts = segments.into_iter();
        let group = match parts.next()?.as_str() {
            "api" => String::new(),
            "apis" => parts.next()?,
            _ => return None,
        };
        let version = parts.next()?;
        let mut rest: Vec<String> = parts.collect();
        let mut namespace = None;
        if rest.first().is_some_and(|s| s == "namespaces") && rest.len() >= 3 {
            let own = group.is_empty() && matches!(rest[2].as_str(), "status" | "finalize");
            if !own {
                namespace = Some(rest.remove(1));
                rest.remove(0);
            }
        }
        let mut rest = rest.into_iter();
        let plural = rest.next()?;
        let name = rest.next();
        let subresource = rest.next();
        let rest = rest.collect::<Vec<_>>().join("/");
        Some(Self { group, version, namespace, plural, name, subresource, rest })
    }
}

impl Call {
    /// Builds a call from a parsed path.
    pub(crate) fn new(
        target: Target,
        query: &str,
        headers: &HeaderMap,
        identity: Identity,
    ) -> Result<Self, Status> {
        let kind =
            kind_of(&target.group, &target.version, &target.plural).ok_or_else(Status::no_such_path)?;
        let known = target.subresource.as_deref().is_none_or(|sub| kind.has_subresource(sub));
        if !known || (target.namespace.is_some() && !kind.namespaced) || !target.rest.is_empty() {
            return Err(Status::no_such_path());
        }
        if kind.namespaced && target.namespace.is_none() && target.name.is_some() {
            return Err(Status::no_such_path());
        }
        let agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        Ok(Self {
            kind,
            namespace: target.namespace,
            name: target.name,
            subresource: target.subresource,
            query: Query::parse(query),
            identity,
            form: form_of(headers)?,
            agent: agent.split(['/', ' ']).next().unwrap_or_default().to_owned(),
        })
    }

    /// Returns the storage key of the object named `name`.
    pub(crate) fn key(&self, name: &str) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.to_owned(),
        }
    }

    /// Returns the name in the path.
    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// Whether nothing is to be stored; an error if the parameter is malformed.
    pub(crate) fn dry_run(&self) -> Result<bool, Status> {
        let values: Vec<&str> = self.query.all("dryRun").filter(|v| !v.is_empty()).collect();
        match values.as_slice() {
            [] => Ok(false),
            all if all.iter().all(|v| *v == "All") => Ok(true),
            other => {
                Err(Status::bad_request(format!("dryRun: Unsupported value: {other:?}: must be \"All\"")))
            }
        }
    }

    /// Returns the field manager of a write.
    pub(crate) fn manager(&self) -> String {
        let named = self.query.get("fieldManager");
        let manager = if named.is_empty() { self.agent.as_str() } else { named };
        if manager.is_empty() { "unknown".to_owned() } else { manager.to_owned() }
    }

    /// Returns the RBAC verb.
    pub(crate) fn verb(&self, method: &Method) -> &'static str {
        // Streams start something: a GET that upgrades is a `create` all the same.
        if matches!(self.subresource.as_deref(), Some("exec" | "attach" | "portforward")) {
            return "create";
        }
        let watching = self.query.is_true("watch");
        match (method.as_str(), self.name.is_some()) {
            ("GET" | "HEAD", _) if watching => "watch",
            ("GET" | "HEAD", true) => "get",
            ("GET" | "HEAD", false) => "list",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", true) => "delete",
            ("DELETE", false) => "deletecollection",
            _ => "",
        }
    }
}

/// Chooses the form of the answer from `Accept`; 406 if none fits.
fn form_of(headers: &HeaderMap) -> Result<Form, Status> {
    let Some(accept) = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()) else {
        return Ok(Form::Object);
    };
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let parameter = |name: &str| {
            let found = range.split(';').map(str::trim).find_map(|p| p.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_default().to_owned()
        };
        let json = matches!(media, "application/json" | "application/*" | "*/*" | "");
        let v1 = parameter("v") == "v1" && parameter("g") == "meta.k8s.io";
        match parameter("as").as_str() {
            _ if !json => {}
            "" => return Ok(Form::Object),
            "Table" if v1 => return Ok(Form::Table),
            "PartialObjectMetadata" | "PartialObjectMetadataList" if v1 => return Ok(Form::Metadata),
            _ => {}
        }
    }
    // Logs and other text are negotiated by their own handlers.
    if accept.contains("text/") {
        return Ok(Form::Object);
    }
    Err(Status::new(
        http::StatusCode::NOT_ACCEPTABLE,
        "NotAcceptable",
        "only the following media types are accepted: application/json",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_resources() {
        let parse = |path| {
            Target::parse(path).map(|t| {
                let or = |o: Option<String>| o.unwrap_or("-".into());
                format!("{}|{}|{}|{}|{}", t.group, or(t.namespace), t.plural, or(t.name), or(t.subresource))
            })
        };
        for (path, want) in [
            ("/api/v1/pods", Some("|-|pods|-|-")),
            ("/api/v1/namespaces", Some("|-|namespaces|-|-")),
            ("/api/v1/namespaces/a", Some("|-|namespaces|a|-")),
            ("/api/v1/namespaces/a/finalize", Some("|-|namespaces|a|finalize")),
            ("/api/v1/namespaces/a/pods/b/log", Some("|a|pods|b|log")),
            ("/apis/apps/v1/namespaces/a/deployments", Some("apps|a|deployments|-|-")),
            (
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
                Some("rbac.authorization.k8s.io|-|clusterroles|system:node|-"),
            ),
            ("/api/v1/namespaces/a%2Fb/pods", None),
            ("/api/v1/namespaces/../pods", None),
            ("/healthz", None),
        ] {
            assert_eq!(parse(path).as_deref(), want, "case {path}");
        }
    }

    #[test]
    fn queries_survive_a_stray_ampersand() {
        let query = Query::parse("?&labelSelector=app%3Dweb&dryRun=All&container=a+b");
        assert_eq!(query.get("labelSelector"), "app=web");
        assert_eq!(query.get("container"), "a b");
    }
}
