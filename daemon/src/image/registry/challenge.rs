//! What a registry wants to see before it answers: the `WWW-Authenticate` header (RFC 9110 11.6.1, and the
//! distribution project's token specification).
//!
//! Owns: its grammar. Never: sends anything.

use super::limits::HEADER_MAX;

/// One way that a registry takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token, which a server of tokens gives.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// The ways that these headers name, in their order; unknown ones are left out.
pub(super) fn parse<'a>(headers: impl Iterator<Item = &'a str>) -> Vec<Challenge> {
    let mut found = Vec::new();
    for header in headers.filter(|header| header.len() <= HEADER_MAX) {
        let mut rest = header.trim_start();
        while let Some((scheme, parameters, after)) = one(rest) {
            rest = after;
            let get = |name: &str| {
                let named = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                named.map(|(_, value)| value.clone())
            };
            if scheme.eq_ignore_ascii_case("basic") {
                found.push(Challenge::Basic);
            } else if scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = get("realm")
            {
                found.push(Challenge::Bearer { realm, service: get("service"), scope: get("scope") });
            }
        }
    }
    found
}

type Parameters = Vec<(String, String)>;

/// Splits off a scheme with its parameters; `None`: nothing is left that can be read.
fn one(text: &str) -> Option<(&str, Parameters, &str)> {
    let text = text.trim_start_matches([' ', ',', '\t']);
    let end = text.find([' ', ',']).unwrap_or(text.len());
    let (scheme, mut rest) = text.split_at(end);
    if scheme.is_empty() {
        return None;
    }
    let mut parameters = Vec::new();
    loop {
        let next = rest.trim_start_matches([' ', ',', '\t']);
        let Some((key, value, after)) = parameter(next) else { return Some((scheme, parameters, next)) };
        parameters.push((key.to_owned(), value));
        rest = after;
    }
}

/// `key=value` or `key="value"`; `None`: the next scheme begins here.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let (key, rest) = text.split_once('=')?;
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
        return None;
    }
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find([',', ' ']).unwrap_or(rest.len());
        return Some((key, rest[..end].to_owned(), &rest[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((key, value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Challenge, parse};

    #[test]
    fn challenges_are_read() {
        let hub = "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:a/b:pull,push\"";
        let bearer = Challenge::Bearer {
            realm: "https://auth.docker.io/token".to_owned(),
            service: Some("registry.docker.io".to_owned()),
            scope: Some("repository:a/b:pull,push".to_owned()),
        };
        assert_eq!(parse([hub].into_iter()), vec![bearer.clone()]);
        assert_eq!(parse(["Basic realm=\"x\""].into_iter()), [Challenge::Basic]);
        let both = format!("Digest a=b, c=\"d\\\"e\", Basic realm=x, {hub}");
        assert_eq!(parse([both.as_str()].into_iter()), [Challenge::Basic, bearer]);
    }

    #[test]
    fn what_cannot_be_read_is_no_challenge() {
        for bad in ["", ",,,", "Bearer", "Bearer realm", "Bearer realm=\"x", "=", "Bearer =x", "\"\""] {
            assert_eq!(parse([bad].into_iter()), [], "{bad}");
        }
        let long = format!("Basic realm=\"{}\"", "x".repeat(9000));
        assert_eq!(parse([long.as_str()].into_iter()), []);
    }
}
