//! The deadline that a caller set for a call: the `grpc-timeout` header.
//!
//! Never: a deadline of our own.

use std::time::Duration;

use tonic::metadata::MetadataMap;

/// Taken off, so that the call's own answer, which names the step, is there before the server's general one and before
/// the caller's own clock: a twentieth, within these bounds. Nobody's two minutes depend on a quarter of a second.
const MARGIN: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(250));

/// How long the caller waits; `None`: as long as it takes (gRPC over HTTP/2, "Timeout").
pub(super) fn timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok()?;
    let whole = match unit {
        "H" => Duration::from_secs(number.saturating_mul(3600)),
        "M" => Duration::from_secs(number.saturating_mul(60)),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    };
    Some(whole.saturating_sub((whole / 20).clamp(MARGIN.0, MARGIN.1)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::metadata::MetadataMap;

    use super::timeout;

    #[test]
    fn the_units_of_grpc_are_read() {
        let of = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            timeout(&metadata)
        };
        assert_eq!(of("1S"), Some(Duration::from_millis(950)));
        assert_eq!(of("1000u"), Some(Duration::ZERO));
        assert_eq!(of("2H"), Some(Duration::from_millis(7_199_750)));
        for bad in ["", "S", "1", "1x", "-1S"] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(timeout(&MetadataMap::new()), None);
    }
}
