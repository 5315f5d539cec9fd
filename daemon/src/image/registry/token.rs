//! How a caller proves itself: basic credentials, or a token from the server that the registry names.
//!
//! Owns: which credentials go to whom. Never: sends any to a token server of another site, or without TLS over a
//! wire.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Url, header::HeaderValue};
use serde::Deserialize;

use super::{
    challenge::Challenge,
    credentials::Credentials,
    http::{Asked, Http, NoAnswer, host},
    inner::is_inner,
    limits::TOKEN_MAX,
    place::{Place, bare, is_loopback},
    reply::{bounded_body, said},
};

/// Why no proof could be made: words for the error, which hold no secret.
#[derive(Debug)]
pub(super) enum NoProof {
    /// It will not be better.
    Denied(String),
    /// The token server cannot be used now.
    Later(String),
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

/// Makes the `Authorization` header that answers one of these challenges.
pub(super) async fn proof(
    http: &Http,
    place: &Place,
    challenges: &[Challenge],
    credentials: &Credentials,
) -> Result<HeaderValue, NoProof> {
    let bearer = challenges.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
    match (bearer, credentials) {
        (_, Credentials::Registry(token)) => secret(format!("Bearer {token}")),
        (Some(Challenge::Bearer { realm, service, scope }), _) => {
            let mut asked = token_request(place, realm, credentials)?;
            let scope = scope.clone().unwrap_or_else(|| format!("repository:{}:pull", place.path));
            let mut pairs = vec![("scope", scope.as_str())];
            pairs.extend(service.as_deref().map(|service| ("service", service)));
            let authorization = fill(&mut asked, pairs, credentials)?;
            token(http, &asked, authorization.as_ref()).await
        }
        (_, Credentials::Password { username, password }) if challenges.contains(&Challenge::Basic) => {
            basic(username, password)
        }
        (_, Credentials::Anonymous) => {
            Err(NoProof::Denied("it wants credentials, and there are none".to_owned()))
        }
        _ => Err(NoProof::Denied("it takes no credentials of this kind".to_owned())),
    }
}

fn basic(username: &str, password: &str) -> Result<HeaderValue, NoProof> {
    secret(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
}

fn secret(text: String) -> Result<HeaderValue, NoProof> {
    let header = HeaderValue::from_str(&text);
    let mut header =
        header.map_err(|_| NoProof::Denied("the credentials hold control characters".to_owned()))?;
    header.set_sensitive(true);
    Ok(header)
}

/// Checks that the realm may be asked, with or without credentials.
fn token_request(place: &Place, realm: &str, credentials: &Credentials) -> Result<Asked, NoProof> {
    let denied = |why: String| NoProof::Denied(why);
    let url = Url::parse(realm).map_err(|_| denied("its token server has no good address".to_owned()))?;
    let there = host(&url);
    let local = place.is_loopback() && is_loopback(bare(&there));
    if !is_inner(bare(&place.host)) && is_inner(bare(&there)) {
        return Err(denied(format!("its token server {there} is an address of this machine or of its link")));
    }
    match url.scheme() {
        "https" => {}
        "http" if local || place.insecure && there == place.host => {}
        _ => return Err(denied(format!("its token server {there} does not speak TLS"))),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(denied(format!("the address of its token server {there} holds credentials")));
    }
    if !credentials.is_anonymous() && !local && !same_site(bare(&place.host), bare(&there)) {
        return Err(denied(format!(
            "its token server {there} is of another site, which gets no credentials"
        )));
    }
    Ok(Asked {
        url,
        form: None,
        accept: "application/json",
        from: 0,
        insecure: place.insecure && there == place.host,
        registry: bare(&place.host).to_owned(),
    })
}

/// The same host, or one of the same domain: `registry-1.docker.io` and `auth.docker.io`.
fn same_site(one: &str, other: &str) -> bool {
    let domain = |name: &str| -> Option<String> {
        let labels: Vec<&str> = name.rsplit('.').take(2).collect();
        (labels.len() == 2 && !labels[0].bytes().all(|b| b.is_ascii_digit())).then(|| labels.join("."))
    };
    one.eq_ignore_ascii_case(other)
        || domain(&one.to_ascii_lowercase()).is_some_and(|it| Some(it) == domain(&other.to_ascii_lowercase()))
}

/// Puts the parameters where they belong; returns the header that goes with them.
fn fill<'a>(
    asked: &mut Asked,
    mut pairs: Vec<(&'a str, &'a str)>,
    credentials: &'a Credentials,
) -> Result<Option<HeaderValue>, NoProof> {
    if let Credentials::Identity(token) = credentials {
        pairs.extend([("grant_type", "refresh_token"), ("client_id", "taffrail"), ("refresh_token", token)]);
        let mut form = asked.url.clone();
        form.query_pairs_mut().clear().extend_pairs(pairs);
        asked.form = Some(form.query().unwrap_or_default().to_owned());
        return Ok(None);
    }
    let Credentials::Password { username, password } = credentials else {
        asked.url.query_pairs_mut().extend_pairs(pairs);
        return Ok(None);
    };
    pairs.push(("account", username));
    asked.url.query_pairs_mut().extend_pairs(pairs);
    basic(username, password).map(Some)
}

async fn token(http: &Http, asked: &Asked, proof: Option<&HeaderValue>) -> Result<HeaderValue, NoProof> {
    let server = host(&asked.url);
    let answer = http.send(asked, proof).await.map_err(|no| match no {
        NoAnswer::Connect(why) | NoAnswer::Broken(why) | NoAnswer::Stalled(why) => {
            NoProof::Later(format!("its token server {server}: {why}"))
        }
        NoAnswer::Final(error) => NoProof::Denied(error.to_string()),
    })?;
    let status = answer.status();
    if !status.is_success() {
        let words = said(answer, http.stall()).await;
        let why = format!("its token server {server} answered {status}{words}");
        let later = status.is_server_error() || status.as_u16() == 429;
        return Err(if later { NoProof::Later(why) } else { NoProof::Denied(why) });
    }
    let body = bounded_body(answer, TOKEN_MAX, http.stall()).await;
    let body = body.map_err(|why| NoProof::Later(format!("its token server {server}: {why}")))?;
    let bad = || NoProof::Denied(format!("its token server {server} gave no token"));
    let parsed: Answer = serde_json::from_slice(&body).map_err(|_| bad())?;
    let token = parsed.token.or(parsed.access_token).filter(|token| !token.is_empty()).ok_or_else(bad)?;
    secret(format!("Bearer {token}"))
}

#[cfg(test)]
mod tests {
    use super::{Credentials, Place, same_site, token_request};

    #[test]
    fn no_token_is_asked_of_this_machine_on_the_word_of_another() {
        let may = |host: &str, realm: &str| {
            let place = Place { host: host.to_owned(), path: "x".to_owned(), insecure: false, own: true };
            token_request(&place, realm, &Credentials::Anonymous).is_ok()
        };
        for inner in ["127.0.0.1:2379", "[::ffff:127.0.0.1]", "169.254.169.254", "localhost", "2130706433"] {
            assert!(!may("registry.example:5000", &format!("https://{inner}/token")), "{inner}");
            assert!(may("127.0.0.1:5000", &format!("https://{inner}/token")), "{inner}");
        }
        assert!(may("registry.example", "https://auth.example/token"));
    }

    #[test]
    fn sites_are_domains() {
        assert!(same_site("registry-1.docker.io", "auth.docker.io"));
        assert!(same_site("a.b", "A.B") && same_site("localhost", "localhost"));
        assert!(!same_site("a.example.com", "a.example.org") && !same_site("10.0.0.1", "9.0.0.1"));
        assert!(!same_site("localhost", "otherhost"));
    }
}
