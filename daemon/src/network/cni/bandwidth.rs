//! A pod's bandwidth, which it asks for by annotations.
//!
//! Never: a limit by itself; a plugin makes it.

use std::{collections::BTreeMap, ops::RangeInclusive};

use serde_json::{Map, Value, json};

use crate::network::NetworkError;

/// Bits a second into the pod.
const INGRESS: &str = "kubernetes.io/ingress-bandwidth";
/// ... and out of it.
const EGRESS: &str = "kubernetes.io/egress-bandwidth";

/// Bits that may pass at once: the most that the plugin takes, as other runtimes say.
const BURST: i32 = i32::MAX;

/// The least and most that Kubernetes takes: 1k and 1P bits a second.
const RANGE: RangeInclusive<u64> = 1_000..=1_000_000_000_000_000;

/// Characters shown of a bad value.
const SHOWN_MAX: usize = 64;

/// Digits of a number that are read.
const DIGITS_MAX: usize = 20;

/// The argument of the capability; `None`: nothing is asked.
pub(super) fn argument(annotations: &BTreeMap<String, String>) -> Result<Option<Value>, NetworkError> {
    let mut argument = Map::new();
    for (key, name) in [(INGRESS, "ingress"), (EGRESS, "egress")] {
        let Some(value) = annotations.get(key) else { continue };
        let bits = quantity(value).filter(|bits| RANGE.contains(bits)).ok_or_else(|| {
            let why = "must be a quantity from 1k to 1P bits a second, such as 10M";
            NetworkError::Annotation { key, value: value.chars().take(SHOWN_MAX).collect(), why }
        })?;
        argument.insert(format!("{name}Rate"), json!(bits));
        argument.insert(format!("{name}Burst"), json!(BURST));
    }
    Ok((!argument.is_empty()).then_some(Value::Object(argument)))
}

/// A Kubernetes quantity in whole units; a part of one counts as one.
fn quantity(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (up, down): (u128, u128) = match suffix {
        "m" => (1, 1000),
        "" => (1, 1),
        "k" => (1000, 1),
        "M" => (1000_u128.pow(2), 1),
        "G" => (1000_u128.pow(3), 1),
        "T" => (1000_u128.pow(4), 1),
        "P" => (1000_u128.pow(5), 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{part}");
    if digits.is_empty() || digits.len() > DIGITS_MAX {
        return None;
    }
    let scale = 10_u128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let value = digits.parse::<u128>().ok()?.checked_mul(up)?;
    u64::try_from(value.div_ceil(down.checked_mul(scale)?)).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{EGRESS, argument, quantity};

    #[test]
    fn quantities_are_read() {
        let good = [("10M", 10_000_000), ("1.5k", 1500), ("1000", 1000), ("1Mi", 1 << 20), ("1500m", 2)];
        for (text, bits) in good {
            assert_eq!(quantity(text), Some(bits), "{text}");
        }
        for bad in ["", "M", "1X", "-1", "1e3", "1.2.3", "999999999999999999999999"] {
            assert_eq!(quantity(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_annotation_becomes_an_argument_or_an_error() {
        let asked = |value: &str| argument(&[(EGRESS.to_owned(), value.to_owned())].into());
        let wanted = json!({ "egressRate": 10_000_000, "egressBurst": i32::MAX });
        assert_eq!(asked("10M").unwrap().unwrap(), wanted);
        assert!(asked("1").unwrap_err().to_string().contains(EGRESS));
        assert_eq!(argument(&[].into()).unwrap(), None);
    }
}
