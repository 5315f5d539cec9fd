//! From the CRI's AuthConfig to what a registry is shown.
//!
//! Never: a secret in an error.

use cri_api::v1;
use tonic::Status;

use crate::{
    cri::error,
    image::{Credentials, Reference},
};

/// The credentials that a request brings for this image. Those of another server are not for it.
pub(in crate::cri) fn credentials(auth: Option<v1::AuthConfig>, image: &str) -> Result<Credentials, Status> {
    let Some(auth) = auth else { return Ok(Credentials::Anonymous) };
    if !auth.server_address.is_empty() && !is_for(&auth.server_address, image) {
        tracing::debug!(image, server = auth.server_address, "credentials of another server are left out");
        return Ok(Credentials::Anonymous);
    }
    let wrong = |what: &str, why: &str| error::invalid(format!("auth.{what}: {why}"));
    if !auth.registry_token.is_empty() {
        return Ok(Credentials::Registry(auth.registry_token));
    }
    if !auth.identity_token.is_empty() {
        return Ok(Credentials::Identity(auth.identity_token));
    }
    if !auth.username.is_empty() {
        return Ok(Credentials::Password { username: auth.username, password: auth.password });
    }
    if !auth.auth.is_empty() {
        return Credentials::from_base64(&auth.auth).map_err(|why| wrong("auth", why));
    }
    if !auth.password.is_empty() {
        return Err(wrong("username", "it is empty, but there is a password"));
    }
    Ok(Credentials::Anonymous)
}

/// Whether a server's address, as Docker's configuration writes it, is the registry of this image.
fn is_for(server: &str, image: &str) -> bool {
    let host = |text: &str| {
        let text = text.split_once("://").map_or(text, |(_, rest)| rest);
        let host = text.split('/').next().unwrap_or_default().to_ascii_lowercase();
        match host.as_str() {
            "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
            _ => host,
        }
    };
    Reference::parse(image).is_some_and(|name| host(&name.repository) == host(server))
}

#[cfg(test)]
mod tests {
    use cri_api::v1::AuthConfig;

    use super::credentials;
    use crate::image::Credentials;

    fn of(auth: AuthConfig, image: &str) -> Credentials {
        credentials(Some(auth), image).unwrap()
    }

    #[test]
    fn every_field_is_understood() {
        let password = || Credentials::Password { username: "u".to_owned(), password: "p".to_owned() };
        let auth = AuthConfig { username: "u".to_owned(), password: "p".to_owned(), ..AuthConfig::default() };
        assert_eq!(of(auth.clone(), "a.io/b"), password());
        assert_eq!(of(AuthConfig { auth: "dTpw".to_owned(), ..AuthConfig::default() }, "a.io/b"), password());
        let identity = AuthConfig { identity_token: "t".to_owned(), ..auth.clone() };
        assert_eq!(of(identity, "a.io/b"), Credentials::Identity("t".to_owned()));
        let token = AuthConfig { registry_token: "t".to_owned(), ..AuthConfig::default() };
        assert_eq!(of(token, "a.io/b"), Credentials::Registry("t".to_owned()));
        assert_eq!(credentials(None, "a.io/b").unwrap(), Credentials::Anonymous);
        assert!(
            credentials(Some(AuthConfig { auth: "!".to_owned(), ..AuthConfig::default() }), "a").is_err()
        );
        assert!(
            credentials(Some(AuthConfig { password: "p".to_owned(), ..AuthConfig::default() }), "a").is_err()
        );
    }

    #[test]
    fn credentials_of_another_server_are_left_out() {
        let auth = |server: &str| AuthConfig {
            username: "u".to_owned(),
            password: "p".to_owned(),
            server_address: server.to_owned(),
            ..AuthConfig::default()
        };
        for server in ["https://a.io:5000/v1/", "a.io:5000", "A.io:5000"] {
            assert!(!of(auth(server), "a.io:5000/b").is_anonymous(), "{server}");
        }
        assert!(!of(auth("https://index.docker.io/v1/"), "busybox").is_anonymous());
        for server in ["a.io", "b.io:5000", "a.io:5000.evil"] {
            assert!(of(auth(server), "a.io:5000/b").is_anonymous(), "{server}");
        }
    }
}
