//! Credentials and tokens: no secret goes where it does not belong, whatever a registry asks for, says back or leads to.
//!
//! Registries that give wrong or no bytes are in `hostile_registries.rs`. Never: a registry that is not scripted.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use cri_api::v1;
use serde_json::json;
use tests::scripted::{Answer, Request, Scripted, from_layout};
use tonic::Code;

use crate::hostile_registries::{
    PASSWORD, asks_for, clean, daemon, image, pull, pull_as_user, put, remove, wish,
};

#[test]
fn no_credentials_reach_another_host() {
    let Some(daemon) = daemon() else { return };
    let (layout, blob) = image(&daemon);
    let path = layout.path().to_owned();
    // The other host asks for credentials first, then gives the blob.
    let other = Scripted::start(daemon.network(), move |request| match request.path.contains("ask") {
        true => Answer::status(401).with("WWW-Authenticate", "Basic realm=\"other\""),
        false => from_layout(&path, request),
    });
    let (to, upper) = (other.host().to_owned(), blob.clone());
    let asks = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&asks);
    let registry = Scripted::of_layout(daemon.network(), layout.path(), move |request| {
        if request.header("authorization").is_none() {
            return Some(Answer::status(401).with("WWW-Authenticate", "Basic realm=\"own\""));
        }
        let way = if now.load(Ordering::Relaxed) { "ask" } else { "give" };
        asks_for(request, &upper)
            .then(|| Answer::status(307).with("Location", &format!("http://{to}/{way}/{upper}?signature=x")))
    });
    let name = registry.name("moved/image:1");
    pull_as_user(daemon.client(), &name).unwrap();
    remove(&daemon, &name);
    asks.store(true, Ordering::Relaxed);
    let error = pull_as_user(daemon.client(), &name).unwrap_err();
    assert!(!error.message().contains("signature"), "{error}");
    assert!(other.count("give") > 0 && other.count("ask") > 0);
    for request in other.requests() {
        assert_eq!(request.header("authorization"), None, "{request:?}");
    }
    assert!(registry.requests().iter().any(|request| request.header("authorization").is_some()));
    // Circles, and a way out of HTTP, are not followed.
    for location in ["/v2/moved/image/manifests/1", "file:///etc/passwd", "http://user:pw@127.0.0.1/x", "::"]
    {
        let circle =
            Scripted::start(daemon.network(), move |_| Answer::status(302).with("Location", location));
        let error = pull(daemon.client(), &circle.name("moved/image:1")).unwrap_err();
        assert!(error.message().contains("not followed"), "{location}: {error}");
        assert!(circle.requests().len() <= 6, "{location}");
    }
    clean(&daemon);
}

/// Wants a token of its own token server, in `realm`.
fn wants_token(host: &str, request: &Request) -> Option<Answer> {
    let realm =
        format!("Bearer realm=\"http://{host}/token\",service=\"s v c\",scope=\"repository:t/image:pull\"");
    match request.header("authorization") {
        Some("Bearer good-t0ken") => None,
        _ => Some(Answer::status(401).with("WWW-Authenticate", &realm)),
    }
}

#[test]
fn tokens_are_fetched_with_the_credentials_of_the_request() {
    let Some(daemon) = daemon() else { return };
    let (layout, _) = image(&daemon);
    let token = |request: &Request| -> Answer {
        let by_password = request.header("authorization").is_some_and(|it| it.starts_with("Basic dXNlcjpj"));
        let by_identity = request.method == "POST"
            && request.body.contains("grant_type=refresh_token")
            && request.body.contains("refresh_token=1dentity");
        let scoped =
            format!("{}{}", request.path, request.body).contains("scope=repository%3At%2Fimage%3Apull");
        assert!(scoped, "{request:?}");
        if by_password || by_identity {
            Answer::good("application/json", br#"{"access_token":"good-t0ken","expires_in":60}"#.to_vec())
        } else {
            Answer::status(401)
        }
    };
    let server = Scripted::start(daemon.network(), token);
    let host = server.host().to_owned();
    let registry =
        Scripted::of_layout(daemon.network(), layout.path(), move |request| wants_token(&host, request));
    let name = registry.name("t/image:1");
    let with = |auth: v1::AuthConfig| {
        let answer = daemon.client().pull_image(v1::PullImageRequest { auth: Some(auth), ..wish(&name) });
        answer.map(|answer| answer.image_ref)
    };
    assert_eq!(pull(daemon.client(), &name).unwrap_err().code(), Code::Unauthenticated);
    let id = pull_as_user(daemon.client(), &name).unwrap();
    let identity = v1::AuthConfig { identity_token: "1dentity".to_owned(), ..v1::AuthConfig::default() };
    assert_eq!(with(identity).unwrap(), id);
    let own = v1::AuthConfig { registry_token: "good-t0ken".to_owned(), ..v1::AuthConfig::default() };
    assert_eq!(with(own).unwrap(), id);
    let elsewhere = v1::AuthConfig {
        username: "user".to_owned(),
        password: PASSWORD.to_owned(),
        server_address: "https://other.example/v1/".to_owned(),
        ..v1::AuthConfig::default()
    };
    assert_eq!(with(elsewhere).unwrap_err().code(), Code::Unauthenticated, "credentials of another server");
    for secret in [PASSWORD, "1dentity", "good-t0ken"] {
        assert!(!daemon.log().contains(secret), "{secret} is in the log");
    }
    remove(&daemon, &name);
}

#[test]
fn a_loop_of_tokens_ends() {
    let Some(daemon) = daemon() else { return };
    let given = AtomicUsize::new(0);
    // Each token is another one, and none is good enough.
    let server = Scripted::start(daemon.network(), move |_| {
        let token = format!("{{\"token\":\"t{}\"}}", given.fetch_add(1, Ordering::Relaxed));
        Answer::good("application/json", token.into_bytes())
    });
    let host = server.host().to_owned();
    let registry = Scripted::start(daemon.network(), move |request| {
        wants_token(&host, request).unwrap_or(Answer::status(200))
    });
    let error = pull_as_user(daemon.client(), &registry.name("t/image:1")).unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated, "{error}");
    assert!(server.requests().len() <= 3 && registry.requests().len() <= 4, "{}", server.requests().len());
    for (answer, word) in [
        (Answer::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()), "larger than"),
        (Answer::good("application/json", b"[]".to_vec()), "no token"),
        (Answer::good("application/json", br#"{"token":"a\nb"}"#.to_vec()), "control characters"),
        (Answer::status(500), "500"),
        (Answer::Hang(Vec::new()), "no answer"),
    ] {
        let server = Scripted::start(daemon.network(), move |_| answer.clone());
        let host = server.host().to_owned();
        let registry = Scripted::start(daemon.network(), move |request| {
            wants_token(&host, request).unwrap_or(Answer::status(200))
        });
        let error = pull(daemon.client(), &registry.name("t/image:1")).unwrap_err();
        assert!(error.message().contains(word), "{word}: {error}");
    }
}

#[test]
fn a_registry_that_says_secrets_back() {
    let Some(daemon) = daemon() else { return };
    let registry = Scripted::start(daemon.network(), |request| match request.header("authorization") {
        None => Answer::status(401).with("WWW-Authenticate", "Basic realm=\"x\""),
        Some(proof) => {
            let body = json!({ "errors": [{ "code": "DENIED", "message": format!("{proof} {PASSWORD}") }] });
            Answer::Whole(403, Vec::new(), body.to_string().into_bytes())
        }
    });
    let error = pull_as_user(daemon.client(), &registry.name("echo/image:1")).unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied, "{error}");
    for secret in [PASSWORD, "dXNlcjpj"] {
        assert!(!error.message().contains(secret), "{error}");
        assert!(!daemon.log().contains(secret), "in the log");
    }
    let plain = Scripted::start(daemon.network(), |_| {
        let body = json!({ "errors": [{ "code": "DENIED", "message": "you may not\nhave this" }] });
        Answer::Whole(403, Vec::new(), body.to_string().into_bytes())
    });
    let error = pull(daemon.client(), &plain.name("echo/image:1")).unwrap_err();
    assert!(error.message().contains("DENIED: you may not have this"), "{error}");
}

#[test]
fn no_credentials_reach_a_mirror() {
    let Some(daemon) = daemon() else { return };
    let (layout, _) = image(&daemon);
    let wants = |request: &Request| {
        let proven = request.header("authorization").is_some();
        (!proven).then(|| Answer::status(401).with("WWW-Authenticate", "Basic realm=\"x\""))
    };
    let mirror = Scripted::of_layout(daemon.network(), layout.path(), wants);
    let registry = Scripted::of_layout(daemon.network(), layout.path(), wants);
    let rules = format!(
        "[[registry]]\nprefix = '{0}'\nlocation = '{0}'\n[[registry.mirror]]\nlocation = '{1}'\n",
        registry.host(),
        mirror.host()
    );
    put(&daemon.path("registries.conf"), &rules);
    let name = registry.name("own/image:1");
    pull_as_user(daemon.client(), &name).unwrap();
    assert!(!mirror.requests().is_empty());
    for request in mirror.requests() {
        assert_eq!(request.header("authorization"), None, "{request:?}");
    }
    remove(&daemon, &name);
    // A rule that is not understood stops a pull, and says where it stands.
    put(&daemon.path("registries.conf"), "credential-helpers = ['secretservice']\n");
    let error = pull(daemon.client(), &name).unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
    assert!(error.message().contains("registries.conf: credential-helpers"), "{error}");
}
