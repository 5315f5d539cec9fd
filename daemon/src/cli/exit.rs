//! Exit codes and what makes them.
//!
//! Never: the process's end; `main` returns the code.

use std::{fmt, process::ExitCode};

use crate::config::ConfigError;

const FAILED: u8 = 1;
pub(super) const USAGE: u8 = 2;
const BAD_CONFIGURATION: u8 = 3;
const LOCKED: u8 = 4;
const UNFIT: u8 = 5;
const UNREACHABLE: u8 = 6;

/// Why a command failed.
#[derive(Debug)]
pub(super) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    pub(super) fn failed(message: impl ToString) -> Self {
        Self { code: FAILED, message: message.to_string() }
    }

    pub(super) fn locked(message: impl ToString) -> Self {
        Self { code: LOCKED, message: message.to_string() }
    }

    pub(super) fn unfit(message: impl ToString) -> Self {
        Self { code: UNFIT, message: message.to_string() }
    }

    pub(super) fn unreachable(message: impl ToString) -> Self {
        Self { code: UNREACHABLE, message: message.to_string() }
    }

    pub(super) fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self { code: BAD_CONFIGURATION, message: error.to_string() }
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        Self::failed(status.message())
    }
}
