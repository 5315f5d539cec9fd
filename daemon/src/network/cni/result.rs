//! What a chain of plugins answers to ADD: the pod's addresses.
//!
//! Never: believes that there is one.

use std::net::IpAddr;

use serde_json::Value;

/// Most addresses of a pod that are kept.
const ADDRESSES_MAX: usize = 64;

/// Characters shown of a bad address.
const SHOWN_MAX: usize = 64;

/// The addresses on the pod's own links, in the plugin's order. An error is a sentence.
pub(super) fn addresses(result: &Value) -> Result<Vec<IpAddr>, String> {
    let list = |key: &str| result.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let links = list("interfaces");
    let mut found = Vec::new();
    for entry in list("ips").iter().take(ADDRESSES_MAX) {
        let text = entry.get("address").and_then(Value::as_str).unwrap_or_default();
        let address: Result<IpAddr, _> = text.split('/').next().unwrap_or_default().parse();
        let address = address.map_err(|_| {
            format!("its result has the address {:?}", text.chars().take(SHOWN_MAX).collect::<String>())
        })?;
        let nr = entry.get("interface").and_then(Value::as_u64).and_then(|nr| usize::try_from(nr).ok());
        let sandbox = nr.and_then(|nr| links.get(nr)).map(|link| link.get("sandbox").and_then(Value::as_str));
        // A link without a sandbox is the host's.
        let is_pods = sandbox.is_none_or(|sandbox| sandbox.is_some_and(|path| !path.is_empty()));
        if is_pods && !found.contains(&address) {
            found.push(address);
        }
    }
    if found.is_empty() { Err("its result has no address for the pod".into()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::addresses;

    #[test]
    fn the_pods_own_addresses_are_taken() {
        let result = json!({
            "interfaces": [{ "name": "br0" }, { "name": "eth0", "sandbox": "/run/netns/x" }],
            "ips": [
                { "address": "10.0.0.1/24", "interface": 0 },
                { "version": "4", "address": "10.0.0.5/24", "interface": 1 },
                { "address": "fd00::5/64", "interface": 1 },
                { "address": "10.0.0.6/24" },
            ],
        });
        let found: Vec<String> = addresses(&result).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.5", "fd00::5", "10.0.0.6"]);
    }

    #[test]
    fn no_address_and_no_such_address_are_errors() {
        let none = [json!({}), json!(null), json!({ "ips": [] })];
        for bad in none.into_iter().chain([json!({ "ips": [{ "address": "x" }] }), json!({ "ips": [7] })]) {
            assert!(addresses(&bad).is_err(), "{bad}");
        }
    }
}
