//! Status: is the runtime ready, is the network, which handlers are there.
//!
//! Never: a condition that is not true.

use std::collections::HashMap;

use cri_api::v1;

use crate::{cri::Identity, network::Networks, oci::Handlers};

pub(in crate::cri) fn handle(
    identity: &Identity,
    handlers: &Handlers,
    networks: &Networks,
    request: v1::StatusRequest,
) -> v1::StatusResponse {
    let runtime = match handlers.default_is_there() {
        Ok(()) => condition("RuntimeReady", true, "", ""),
        Err(name) => condition(
            "RuntimeReady",
            false,
            "DefaultRuntimeMissing",
            &format!("the default runtime {name} is not installed, or runtimes.{name}.path is wrong"),
        ),
    };
    let network = match networks.ready() {
        Ok(message) => condition("NetworkReady", true, "", &message),
        Err(why) => condition("NetworkReady", false, why.reason, &why.message),
    };
    let handler = |name: &str| v1::RuntimeHandler {
        name: name.to_owned(),
        features: Some(v1::RuntimeHandlerFeatures::default()),
    };
    let mut info = HashMap::new();
    if request.verbose {
        let config = serde_json::json!({
            "sandboxImage": "",
            "stateDir": identity.state,
            "rootDir": identity.root,
            "instance": identity.instance,
        });
        info.insert("config".to_owned(), config.to_string());
    }
    v1::StatusResponse {
        status: Some(v1::RuntimeStatus { conditions: vec![runtime, network] }),
        info,
        // The one without a name is the default.
        runtime_handlers: std::iter::once("").chain(handlers.names()).map(handler).collect(),
        features: Some(v1::RuntimeFeatures {
            supplemental_groups_policy: true,
            ..v1::RuntimeFeatures::default()
        }),
    }
}

fn condition(kind: &str, status: bool, reason: &str, message: &str) -> v1::RuntimeCondition {
    v1::RuntimeCondition {
        r#type: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}
