//! One HTTP request with its redirects: who is trusted by what, and what is never sent on.
//!
//! Owns: the clients of one pull, their certificates and proxies. Never: sends credentials to another origin than
//! they were given for, follows a redirect to a weaker scheme or to this machine, or asks twice.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use reqwest::{
    Certificate, Client, Identity, Method, Response, Url,
    header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, RANGE},
};

use super::{
    configuration::{bounded, names},
    error::RegistryError,
    inner::{Outer, is_inner},
    limits::{CONNECT, REDIRECTS},
    place::{bare, is_loopback},
};
use crate::{
    operations,
    tasks::{Pool, blocking},
};

/// How registries know us.
const USER_AGENT: &str = concat!("taffrail/", env!("CARGO_PKG_VERSION"), " (linux)");

/// The clients of one pull: certificates are read anew for the next.
#[derive(Debug)]
pub(super) struct Http {
    /// Folder of certificates, one folder a host: containers-certs.d(5).
    certificates: PathBuf,
    /// How long an answer may stand still.
    stall: Duration,
    clients: Mutex<HashMap<Key, Client>>,
}

/// What makes a client: scheme and host, whether certificates are taken unseen, and on whose word we go there.
type Key = (String, bool, Option<String>);

/// What is sent.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) url: Url,
    /// A form to be posted; else it is a GET.
    pub(super) form: Option<String>,
    pub(super) accept: &'static str,
    /// First byte that is wanted.
    pub(super) from: u64,
    /// Certificates of this host that nobody vouches for are taken, and redirects to plain HTTP followed.
    pub(super) insecure: bool,
    /// The registry, without its port: on its word we go where this leads.
    pub(super) registry: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// Nobody listens, or nobody that can be believed.
    Connect(String),
    /// It broke off.
    Broken(String),
    /// It took too long.
    Stalled(String),
    /// It will not do better the next time.
    Final(RegistryError),
}

impl Http {
    /// With certificates from this folder.
    pub(super) fn new(certificates: &Path, stall: Duration) -> Self {
        // The first one stays; there is only this one.
        rustls::crypto::ring::default_provider().install_default().ok();
        Self { certificates: certificates.to_owned(), stall, clients: Mutex::default() }
    }

    /// How long an answer may stand still.
    pub(super) fn stall(&self) -> Duration {
        self.stall
    }

    /// Whether an operator has put certificates for this host there.
    pub(super) fn has_certificates(&self, host: &str) -> bool {
        self.certificates.join(host).is_dir()
    }

    /// Sends it and follows its redirects. The answer's headers are there, its body is not.
    pub(super) async fn send(
        &self,
        asked: &Asked,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, NoAnswer> {
        let mut url = asked.url.clone();
        for _ in 0..=REDIRECTS {
            let first = same_origin(&url, &asked.url);
            let client =
                self.client(&url, asked.insecure && first, &asked.registry).await.map_err(NoAnswer::Final)?;
            let method = if asked.form.is_some() { Method::POST } else { Method::GET };
            let mut request = client.request(method, url.clone());
            request = request.header(ACCEPT, asked.accept).header(ACCEPT_ENCODING, "identity");
            if let Some(form) = &asked.form {
                request =
                    request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.clone());
            }
            if asked.from > 0 {
                request = request.header(RANGE, format!("bytes={}-", asked.from));
            }
            if let Some(authorization) = authorization.filter(|_| first) {
                request = request.header(AUTHORIZATION, authorization);
            }
            let answer = match tokio::time::timeout(self.stall, request.send()).await {
                Err(_) => {
                    return Err(NoAnswer::Stalled(format!(
                        "no answer in {} s; {}",
                        self.stall.as_secs(),
                        operations::still(self.stall)
                    )));
                }
                Ok(Err(error)) if error.is_connect() => return Err(NoAnswer::Connect(words(error))),
                Ok(Err(error)) => return Err(NoAnswer::Broken(words(error))),
                Ok(Ok(answer)) => answer,
            };
            if !answer.status().is_redirection() {
                return Ok(answer);
            }
            url = next(asked, &url, &answer).map_err(NoAnswer::Final)?;
        }
        Err(NoAnswer::Final(refused(asked, &url, "there are too many redirects")))
    }

    async fn client(&self, url: &Url, insecure: bool, registry: &str) -> Result<Client, RegistryError> {
        let host = host(url);
        let sent = !bare(&host).eq_ignore_ascii_case(registry) && !is_inner(registry);
        let key = (format!("{}://{host}", url.scheme()), insecure, sent.then(|| registry.to_owned()));
        if let Some(client) = self.clients.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(client.clone());
        }
        let loopback = is_loopback(bare(&host));
        let folder = self.certificates.join(&host);
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT);
        if loopback {
            builder = builder.no_proxy();
        }
        if sent {
            let (host, registry) = (bare(&host).to_owned(), registry.to_owned());
            builder = builder.dns_resolver(Outer { host, registry });
        }
        if url.scheme() == "http" {
            // The host's certificates are not even read.
            builder = builder.tls_certs_only([]);
        } else {
            let (roots, identity) = blocking(Pool::Disk, move || certificates(&folder)).await?;
            builder = builder.tls_certs_merge(roots).tls_danger_accept_invalid_certs(insecure);
            if let Some(identity) = identity {
                builder = builder.identity(identity);
            }
        }
        let client = builder.build().map_err(|error| {
            let why = words(error);
            RegistryError::Answer { host: host.clone(), what: "a connection".to_owned(), why }
        })?;
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).insert(key, client.clone());
        Ok(client)
    }
}

/// Host and port of an address.
pub(super) fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

/// Whether two addresses are of one server: scheme, host and port.
pub(super) fn same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

/// An error's own words without the address, whose query may hold secrets.
pub(super) fn words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut innermost: &dyn std::error::Error = &error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let (outer, inner) = (error.to_string(), innermost.to_string());
    if outer == inner { outer } else { format!("{outer}: {inner}") }
}

fn refused(asked: &Asked, to: &Url, why: &'static str) -> RegistryError {
    let to = format!("{}://{}", to.scheme(), host(to));
    RegistryError::Redirect { host: host(&asked.url), what: asked.url.path().to_owned(), to, why }
}

/// Where a redirect leads, if we go there.
fn next(asked: &Asked, at: &Url, answer: &Response) -> Result<Url, RegistryError> {
    let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    let Some(to) = location.and_then(|location| at.join(location).ok()) else {
        return Err(refused(asked, at, "it names no address"));
    };
    if asked.form.is_some() {
        return Err(refused(asked, &to, "a token server must answer itself"));
    }
    if !to.username().is_empty() || to.password().is_some() {
        return Err(refused(asked, &to, "the address holds credentials"));
    }
    match (at.scheme(), to.scheme()) {
        (_, "https") | ("http", "http") => {}
        ("https", "http") if asked.insecure => {}
        _ => return Err(refused(asked, &to, "it would leave TLS")),
    }
    let name = host(&to);
    let name = bare(&name);
    if !is_inner(&asked.registry) && is_inner(name) {
        return Err(refused(asked, &to, "it is an address of this machine or of its link"));
    }
    Ok(to)
}

/// `*.crt` are authorities; `*.cert` with the `*.key` beside it is who we are. Blocking.
fn certificates(folder: &Path) -> Result<(Vec<Certificate>, Option<Identity>), RegistryError> {
    let bad = |path: &Path, error: reqwest::Error| RegistryError::Configuration {
        file: path.to_owned(),
        why: format!("it is no certificate in PEM: {}", words(error)),
    };
    let mut roots = Vec::new();
    for path in names(folder, "crt")? {
        let text = bounded(&path)?.unwrap_or_default();
        roots.extend(Certificate::from_pem_bundle(text.as_bytes()).map_err(|e| bad(&path, e))?);
    }
    let Some(path) = names(folder, "cert")?.into_iter().next() else { return Ok((roots, None)) };
    let key = path.with_extension("key");
    let both = bounded(&path)?.unwrap_or_default() + "\n" + &bounded(&key)?.unwrap_or_default();
    let identity = Identity::from_pem(both.as_bytes()).map_err(|e| bad(&path, e))?;
    Ok((roots, Some(identity)))
}
