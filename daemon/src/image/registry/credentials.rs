//! Who asks: what a request brought to prove it.
//!
//! Owns: the secrets of one pull. Never: prints one, stores one, or says one in an error.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// How a caller proves who it is. Kept in memory for the length of a pull.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Credentials {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// A name and a password.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// A token with which the token server gives others (OAuth 2 refresh token).
    Identity(String),
    /// A token for the registry itself.
    Registry(String),
}

impl Credentials {
    /// Reads base64 of `username:password`, as Docker's configuration has it. An error says what is wrong, and
    /// nothing of what it holds.
    pub fn from_base64(text: &str) -> Result<Self, &'static str> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| "it is no base64")?;
        let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
        // Docker pads with zeros.
        Self::from_pair(text.trim_end_matches('\0'))
    }

    /// Reads `username:password`.
    pub fn from_pair(text: &str) -> Result<Self, &'static str> {
        let (username, password) = text.split_once(':').ok_or("it has no colon between name and password")?;
        let whole = text.bytes().all(|b| b >= b' ' && b != 0x7f);
        if username.is_empty() || !whole {
            return Err("the name is empty, or there is a control character in it");
        }
        Ok(Self::Password { username: username.to_owned(), password: password.to_owned() })
    }

    /// Whether there is nothing to prove it with.
    pub fn is_anonymous(&self) -> bool {
        *self == Self::Anonymous
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Password { .. } => "Password(..)",
            Self::Identity(_) => "Identity(..)",
            Self::Registry(_) => "Registry(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Credentials;

    #[test]
    fn pairs_are_read_and_never_shown() {
        let whole = Credentials::from_base64("dXNlcjpzM2NyZXQ6eA==").unwrap();
        assert_eq!(whole, Credentials::from_pair("user:s3cret:x").unwrap());
        assert!(!format!("{whole:?}").contains("s3cret"));
        for bad in ["dXNlcg==", "???", "Og==", "YTpiCg=="] {
            assert!(Credentials::from_base64(bad).is_err(), "{bad}");
        }
    }
}
