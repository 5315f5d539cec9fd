//! The bodies of small answers: bounded in length and in time.
//!
//! Owns: what of a registry's own words is shown. Never: shows what a page of a proxy or a portal says.

use std::time::Duration;

use reqwest::{Response, header::CONTENT_TYPE};
use serde::Deserialize;

use super::{
    http::words,
    limits::{ERROR_MAX, ERROR_SHOWN},
};

#[derive(Deserialize)]
struct Errors {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    code: Option<String>,
    message: Option<String>,
}

/// Reads a body of at most `max` bytes; an error says what went wrong.
pub(super) async fn bounded_body(mut answer: Response, max: u64, stall: Duration) -> Result<Vec<u8>, String> {
    let too_long = || format!("its answer is larger than {max} bytes");
    if answer.content_length().is_some_and(|length| length > max) {
        return Err(too_long());
    }
    let mut body = Vec::new();
    loop {
        match tokio::time::timeout(stall, answer.chunk()).await {
            Err(_) => return Err(format!("its answer stood still for {} s", stall.as_secs())),
            Ok(Err(error)) => return Err(words(error)),
            Ok(Ok(None)) => return Ok(body),
            Ok(Ok(Some(piece))) if body.len() as u64 + piece.len() as u64 > max => return Err(too_long()),
            Ok(Ok(Some(piece))) => body.extend_from_slice(&piece),
        }
    }
}

/// The media type of an answer, without parameters.
pub(super) fn media_type(answer: &Response) -> Option<String> {
    let text = answer.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    let plain = text.split(';').next().unwrap_or_default().trim();
    (!plain.is_empty()).then(|| plain.chars().take(ERROR_SHOWN).collect::<String>().to_ascii_lowercase())
}

/// What a registry says of an error, after ": "; or nothing.
pub(super) async fn said(answer: Response, stall: Duration) -> String {
    let Ok(body) = bounded_body(answer, ERROR_MAX, stall).await else { return String::new() };
    let Ok(errors) = serde_json::from_slice::<Errors>(&body) else { return String::new() };
    let Some(first) = errors.errors.first() else { return String::new() };
    let parts: Vec<&str> = [&first.code, &first.message].into_iter().flatten().map(String::as_str).collect();
    let text = parts.join(": ");
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let shown: String = text.chars().map(clean).take(ERROR_SHOWN).collect();
    if shown.trim().is_empty() { String::new() } else { format!(": {shown}") }
}
