//! The conversation of one pull with every place that may have the image.
//!
//! Owns: retries, and the proofs that were given so far. Never: chooses an image, or believes a digest.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use reqwest::{
    Response, StatusCode, Url,
    header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
};

use super::{
    challenge,
    credentials::Credentials,
    error::RegistryError,
    http::{Asked, Http, NoAnswer, host, same_origin},
    limits::{BACK_OFF, RETRY_AFTER_MAX, TOKENS, TRIES, TRIES_REFUSED, TRIES_STALLED},
    place::{Place, bare},
    reply::said,
    rests::Rests,
    token::{NoProof, proof},
};
use crate::clock;

/// One pull's way to its image.
#[derive(Debug)]
pub(in crate::image) struct Session {
    http: Http,
    places: Vec<Place>,
    credentials: Credentials,
    /// What each place has accepted, or what it was offered last.
    proofs: Mutex<HashMap<usize, HeaderValue>>,
    /// Which insecure places speak plain HTTP.
    plain: Mutex<HashMap<usize, bool>>,
    rests: Rests,
}

/// What is wanted of a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish<'a> {
    /// For errors.
    pub(super) what: &'a str,
    /// Below the repository: `manifests/latest`.
    pub(super) path: &'a str,
    pub(super) accept: &'static str,
    /// First byte that is wanted.
    pub(super) from: u64,
}

/// How one try ended.
enum Try {
    Answered(Response),
    Again { why: String, after: Option<Duration>, tries: u32 },
}

impl Session {
    pub(super) fn new(http: Http, places: Vec<Place>, credentials: Credentials) -> Self {
        let (proofs, plain, rests) = Default::default();
        Self { http, places, credentials, proofs, plain, rests }
    }

    /// How long an answer may stand still.
    pub(super) fn stall(&self) -> Duration {
        self.http.stall()
    }

    /// How many places there are.
    pub(in crate::image) fn places(&self) -> usize {
        self.places.len()
    }

    /// Name of one of them.
    pub(in crate::image) fn host(&self, at: usize) -> &str {
        &self.places[at].host
    }

    /// Returns when a place does not want to be left alone: whoever is about to begin waits here, not in a turn that
    /// others need.
    pub(in crate::image) async fn ready(&self, at: usize) {
        self.rests.over(at).await;
    }

    /// Asks, proves who we are where that is wanted, asks again while the registry is busy.
    pub(super) async fn get(&self, at: usize, wish: Wish<'_>) -> Result<Response, RegistryError> {
        let place = &self.places[at];
        let scheme = self.scheme(at).await;
        let address = format!("{scheme}://{}/v2/{}/{}", place.host, place.path, wish.path);
        let url = Url::parse(&address).map_err(|_| self.answer(at, wish, "it has no good address"))?;
        let registry = bare(&place.host).to_owned();
        let (accept, from, insecure) = (wish.accept, wish.from, place.insecure);
        let asked = Asked { url, form: None, accept, from, insecure, registry };
        let (mut failures, mut tokens) = (0, 0);
        loop {
            let (why, after, tries) = match self.once(at, wish, &asked, &mut tokens).await? {
                Try::Answered(answer) => return Ok(answer),
                Try::Again { why, after, tries } => (why, after, tries),
            };
            failures += 1;
            if failures >= tries {
                return Err(RegistryError::Unavailable { host: place.host.clone(), why });
            }
            tracing::debug!(host = place.host, what = wish.what, why, "a registry is asked again");
            if let Some(after) = after {
                self.rests.begin(at, after);
            }
            tokio::time::sleep(after.unwrap_or_else(|| back_off(failures))).await;
        }
    }

    async fn once(
        &self,
        at: usize,
        wish: Wish<'_>,
        asked: &Asked,
        tokens: &mut u32,
    ) -> Result<Try, RegistryError> {
        loop {
            let proof = self.proofs().get(&at).cloned();
            let answer = match self.http.send(asked, proof.as_ref()).await {
                Ok(answer) => answer,
                Err(NoAnswer::Final(error)) => return Err(error),
                Err(NoAnswer::Connect(why)) => {
                    return Ok(Try::Again { why, after: None, tries: TRIES_REFUSED });
                }
                Err(NoAnswer::Stalled(why)) => {
                    return Ok(Try::Again { why, after: None, tries: TRIES_STALLED });
                }
                Err(NoAnswer::Broken(why)) => return Ok(Try::Again { why, after: None, tries: TRIES }),
            };
            let status = answer.status();
            let own = same_origin(answer.url(), &asked.url);
            match status {
                StatusCode::OK => return Ok(Try::Answered(answer)),
                StatusCode::PARTIAL_CONTENT if asked.from > 0 => return Ok(Try::Answered(answer)),
                StatusCode::UNAUTHORIZED if own && *tokens < TOKENS => {
                    if let Some(again) = self.prove(at, wish, answer, proof).await? {
                        return Ok(again);
                    }
                    *tokens += 1;
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    return Err(self.denied(at, wish, status, self.scrubbed(answer).await));
                }
                StatusCode::NOT_FOUND => {
                    let what = wish.what.to_owned();
                    let said = self.scrubbed(answer).await;
                    return Err(RegistryError::NotFound { what, host: self.host(at).to_owned(), said });
                }
                _ if is_busy(status) => {
                    let after = retry_after(&answer);
                    let why = format!("it answered {status}{}", self.scrubbed(answer).await);
                    return Ok(Try::Again { why, after, tries: TRIES });
                }
                _ => {
                    let why = format!("{status}{}", self.scrubbed(answer).await);
                    return Err(self.answer(at, wish, &why));
                }
            }
        }
    }

    /// Answers a challenge. `None`: done, ask anew.
    async fn prove(
        &self,
        at: usize,
        wish: Wish<'_>,
        answer: Response,
        offered: Option<HeaderValue>,
    ) -> Result<Option<Try>, RegistryError> {
        let headers = answer.headers().get_all(WWW_AUTHENTICATE);
        let challenges = challenge::parse(headers.iter().filter_map(|header| header.to_str().ok()));
        let words = self.scrubbed(answer).await;
        let place = &self.places[at];
        // The credentials came for the host of the name; a mirror is somebody else.
        let credentials = if place.own { self.credentials.clone() } else { Credentials::Anonymous };
        let status = StatusCode::UNAUTHORIZED;
        match proof(&self.http, place, &challenges, &credentials).await {
            // The very same was refused just now.
            Ok(made) if Some(&made) == offered.as_ref() => Err(self.denied(at, wish, status, words)),
            Ok(made) => {
                self.proofs().insert(at, made);
                Ok(None)
            }
            Err(NoProof::Denied(why)) => {
                Err(self.denied(at, wish, status, format!("{words}: {}", self.scrub(why))))
            }
            Err(NoProof::Later(why)) => {
                Ok(Some(Try::Again { why: self.scrub(why), after: None, tries: TRIES }))
            }
        }
    }

    /// HTTPS; plain HTTP on this machine, unless it has certificates; what answers where the operator allows both.
    async fn scheme(&self, at: usize) -> &'static str {
        let place = &self.places[at];
        if self.http.has_certificates(&place.host) {
            return "https";
        }
        if place.is_loopback() {
            return "http";
        }
        if !place.insecure {
            return "https";
        }
        let known = self.plain.lock().unwrap_or_else(PoisonError::into_inner).get(&at).copied();
        let plain = match known {
            Some(plain) => plain,
            None => {
                let url = Url::parse(&format!("https://{}/v2/", place.host));
                let plain = match url {
                    Ok(url) => {
                        let registry = bare(&place.host).to_owned();
                        let asked =
                            Asked { url, form: None, accept: "*/*", from: 0, insecure: true, registry };
                        matches!(self.http.send(&asked, None).await, Err(NoAnswer::Connect(_)))
                    }
                    Err(_) => false,
                };
                self.plain.lock().unwrap_or_else(PoisonError::into_inner).insert(at, plain);
                plain
            }
        };
        if plain { "http" } else { "https" }
    }

    pub(super) fn answer(&self, at: usize, wish: Wish<'_>, why: &str) -> RegistryError {
        RegistryError::Answer {
            host: self.host(at).to_owned(),
            what: wish.what.to_owned(),
            why: why.to_owned(),
        }
    }

    fn denied(&self, at: usize, wish: Wish<'_>, status: StatusCode, said: String) -> RegistryError {
        let (host, what) = (self.host(at).to_owned(), wish.what.to_owned());
        RegistryError::Denied { host, what, status: status.as_u16(), said }
    }

    async fn scrubbed(&self, answer: Response) -> String {
        let host = host(answer.url());
        let words = said(answer, self.stall()).await;
        tracing::debug!(host, "an error's body was read");
        self.scrub(words)
    }

    /// Nothing of what a registry says is shown when a secret is in it: it may say back what it was sent.
    fn scrub(&self, words: String) -> String {
        let mut secrets: Vec<String> = match &self.credentials {
            Credentials::Anonymous => Vec::new(),
            Credentials::Password { password, .. } => vec![password.clone()],
            Credentials::Identity(token) | Credentials::Registry(token) => vec![token.clone()],
        };
        let proofs = self.proofs();
        let sent = proofs.values().filter_map(|proof| proof.to_str().ok()?.split_once(' '));
        secrets.extend(sent.map(|(_, secret)| secret.to_owned()));
        let leaks = secrets.iter().any(|secret| !secret.is_empty() && words.contains(secret.as_str()));
        if leaks { ": (its words hold a secret)".to_owned() } else { words }
    }

    fn proofs(&self) -> std::sync::MutexGuard<'_, HashMap<usize, HeaderValue>> {
        // Each statement under this lock leaves the map sound, so a panic elsewhere does no harm.
        self.proofs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_busy(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// What the registry wants us to wait, within bounds. Dates are not heeded: the clocks may differ.
fn retry_after(answer: &Response) -> Option<Duration> {
    let seconds: u64 = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// Half of it for certain, half by chance: callers that failed together do not come back together.
pub(super) fn back_off(failures: u32) -> Duration {
    let whole = BACK_OFF * 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    let chance = u32::try_from(clock::now_nanos().unsigned_abs() % 1024).unwrap_or(0);
    whole / 2 + whole / 2 * chance / 1024
}
